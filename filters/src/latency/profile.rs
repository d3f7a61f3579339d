//! What the last minutes were like: for the whole, for each room, model and backend.
//!
//! It is fed every request that is over. One lock guards it all, and a reader holds it for milliseconds: it is to be
//! fed by a task of its own and never where requests are answered.

mod digest;
mod groups;
mod metrics;

#[cfg(test)]
pub(super) mod testing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::Config;
use crate::trace::Record;
use crate::windows::{Count, Counts, Window, Windows};
pub use digest::{Digest, Measured, own, part};
use groups::Groups;
pub use metrics::{LaneSeen, PartSeen, Reviewed};

/// Rooms and other parts told apart: their names are ours, so there are never as many.
const MOST_PARTS: usize = 32;

/// Requests below which a share or a percentile is chance: one failure at night is no alarm.
pub const ENOUGH: u64 = 20;

pub struct Profile {
    settings: ArcSwap<Settings>,
    state: Mutex<State>,
}

struct Settings {
    /// Nothing is told apart: alerts and health need no more.
    whole_only: bool,
    backends: Vec<Arc<str>>,
    /// What a room may take by itself, in seconds.
    allowance: f64,
}

struct State {
    begun: Instant,
    whole: Whole,
    parts: Groups<&'static str, Windows>,
    models: Groups<Arc<str>, Model>,
    backends: Groups<Arc<str>, Lane>,
    pairs: Groups<(Arc<str>, Arc<str>), Lane>,
}

/// All requests.
struct Whole {
    counts: Counts,
    duration: Windows,
    first_token: Windows,
    per_token: Windows,
    /// Until the outermost room had the head of the answer.
    head: Windows,
}

/// Requests for a model.
struct Model {
    counts: Counts,
    duration: Windows,
    first_token: Windows,
    per_token: Windows,
}

/// Calls to a backend, or to a backend for a model.
struct Lane {
    counts: Counts,
    first_chunk: Windows,
    per_output: Windows,
    duration: Windows,
}

/// A gauge that others read: alerts, health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    FirstTokenP95,
    DurationP95,
    PerTokenP95,
    ErrorShare,
    CacheHitShare,
}

/// What a reading is of: all, where neither is named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Of<'name> {
    pub backend: Option<&'name str>,
    pub model: Option<&'name str>,
}

impl Profile {
    /// `backends` are the names of the settings' `[[backends]]`, in their order.
    pub fn new(config: &Config, backends: &[String], now: Instant) -> Self {
        let other: Arc<str> = crate::labels::OTHER.into();
        Profile {
            settings: ArcSwap::from_pointee(Settings::of(config, backends)),
            state: Mutex::new(State {
                begun: now,
                whole: Whole::since(now),
                parts: Groups::new(MOST_PARTS, crate::labels::OTHER),
                models: Groups::new(groups::MOST, other.clone()),
                backends: Groups::new(groups::MOST, other.clone()),
                pairs: Groups::new(groups::MOST, (other.clone(), other)),
            }),
        }
    }

    /// Other settings from now on; `backends` are the names that backends have or had, by their places.
    pub fn renew(&self, config: &Config, backends: &[String]) {
        self.settings.store(Arc::new(Settings::of(config, backends)));
    }

    /// Counts a request that is over.
    pub fn take(&self, now: Instant, record: &Record) {
        self.count(now, &Digest::of(record));
    }

    /// The same, for whoever has taken it apart already.
    pub fn count(&self, now: Instant, digest: &Digest) {
        let mut state = self.state();
        state.take_whole(now, digest);
        let settings = self.settings.load();
        if !settings.whole_only && !digest.passed {
            state.take_apart(now, digest, &settings.backends);
        }
    }

    /// None where nothing is known of it, or too little to tell by.
    pub fn reading(&self, now: Instant, reading: Reading, window: Window, of: Of<'_>) -> Option<f64> {
        let state = self.state();
        let enough = |count: u64| count >= ENOUGH;
        let p95 = |windows: &Windows| {
            windows.summary(now, window).filter(|summary| enough(summary.count)).map(|summary| summary.p95)
        };
        let errors = |counts: &Counts| {
            let sums = counts.sums(now, window);
            sums.error_share().filter(|_| enough(sums.judged()))
        };
        let hits = |counts: &Counts| {
            let sums = counts.sums(now, window);
            sums.cache_hit_share().filter(|_| enough(sums.of(Count::CacheLooks)))
        };
        let lane = match (of.backend, of.model) {
            (None, None) => {
                let whole = &state.whole;
                return match reading {
                    Reading::FirstTokenP95 => p95(&whole.first_token),
                    Reading::DurationP95 => p95(&whole.duration),
                    Reading::PerTokenP95 => p95(&whole.per_token),
                    Reading::ErrorShare => errors(&whole.counts),
                    Reading::CacheHitShare => hits(&whole.counts),
                };
            }
            (None, Some(model)) => {
                let model = state.models.get(&Arc::from(model), now)?;
                return match reading {
                    Reading::FirstTokenP95 => p95(&model.first_token),
                    Reading::DurationP95 => p95(&model.duration),
                    Reading::PerTokenP95 => p95(&model.per_token),
                    Reading::ErrorShare => errors(&model.counts),
                    Reading::CacheHitShare => hits(&model.counts),
                };
            }
            (Some(backend), None) => state.backends.get(&Arc::from(backend), now)?,
            (Some(backend), Some(model)) => state.pairs.get(&(backend.into(), model.into()), now)?,
        };
        match reading {
            Reading::FirstTokenP95 => p95(&lane.first_chunk),
            Reading::DurationP95 => p95(&lane.duration),
            Reading::PerTokenP95 => p95(&lane.per_output),
            Reading::ErrorShare => errors(&lane.counts),
            Reading::CacheHitShare => None,
        }
    }

    /// The share of requests that failed by no fault of their clients, and how many there were to tell by.
    pub fn errors(&self, now: Instant, window: Window) -> Option<(f64, u64)> {
        let sums = self.state().whole.counts.sums(now, window);
        Some((sums.error_share()?, sums.judged()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    fn of(config: &Config, backends: &[String]) -> Self {
        Settings {
            whole_only: !config.profile,
            backends: backends.iter().map(|name| Arc::from(name.as_str())).collect(),
            allowance: config.allowance_ms / 1000.0,
        }
    }
}

impl State {
    fn take_whole(&mut self, now: Instant, digest: &Digest) {
        if digest.passed {
            self.whole.counts.add(now, &[(Count::Passed, 1)]);
            return;
        }
        self.whole.counts.add(now, &digest.counted);
        record(&mut self.whole.duration, now, digest.duration);
        record(&mut self.whole.first_token, now, digest.first_token);
        record(&mut self.whole.per_token, now, digest.per_token);
        record(&mut self.whole.head, now, digest.head);
    }

    fn take_apart(&mut self, now: Instant, digest: &Digest, backends: &[Arc<str>]) {
        let begun = self.begun;
        for (part, seconds) in &digest.parts {
            self.parts.of(part, now, || Windows::since(begun)).record(now, *seconds);
        }
        if let Some(name) = &digest.model {
            let model = self.models.of(name, now, || Model::since(begun));
            model.counts.add(now, &digest.counted);
            record(&mut model.duration, now, digest.duration);
            record(&mut model.first_token, now, digest.first_token);
            record(&mut model.per_token, now, digest.per_token);
        }
        for call in &digest.calls {
            let Some(backend) = backends.get(call.backend) else { continue };
            self.backends.of(backend, now, || Lane::since(begun)).take(now, call);
            let model = call.model.clone().unwrap_or_else(|| crate::labels::OTHER.into());
            self.pairs.of(&(backend.clone(), model), now, || Lane::since(begun)).take(now, call);
        }
    }
}

fn record(windows: &mut Windows, now: Instant, seconds: Option<f64>) {
    if let Some(seconds) = seconds {
        windows.record(now, seconds);
    }
}

impl Whole {
    fn since(begun: Instant) -> Self {
        let windows = || Windows::since(begun);
        Whole {
            counts: Counts::since(begun),
            duration: windows(),
            first_token: windows(),
            per_token: windows(),
            head: windows(),
        }
    }
}

impl Model {
    fn since(begun: Instant) -> Self {
        let windows = || Windows::since(begun);
        Model { counts: Counts::since(begun), duration: windows(), first_token: windows(), per_token: windows() }
    }
}

impl Lane {
    fn since(begun: Instant) -> Self {
        let windows = || Windows::since(begun);
        Lane { counts: Counts::since(begun), first_chunk: windows(), per_output: windows(), duration: windows() }
    }

    fn take(&mut self, now: Instant, call: &Measured) {
        self.counts.add(now, &call.counted);
        // What went wrong at once would make a broken backend look fast.
        if call.is_good {
            record(&mut self.first_chunk, now, call.first_chunk);
            record(&mut self.per_output, now, call.per_output());
            self.duration.record(now, call.duration);
        }
    }
}

#[cfg(test)]
mod tests;
