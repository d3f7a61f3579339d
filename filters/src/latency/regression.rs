//! Which backend has become slower than it usually is, for which model, and how much.
//!
//! What is compared is the middle of the logarithms of times, since times of model servers spread by factors: a
//! backend that is a third slower moves it by the same step whether it takes milliseconds or minutes. A class is by
//! the ratio to the baseline, and it is given only where chance is ruled out: the step must be 5.5 times its own
//! standard error, which counts the noise of single calls, the doubt that is left in the baseline, and how much whole
//! minutes are seen to wander while all is well. That is one false alarm in fifty million looks: there is a look at
//! hundreds of series every five seconds, for months.
//!
//! It is looked at half a minute, a minute and two minutes: the shortest of them that is exact enough speaks first, so
//! busy series are fast and quiet ones take the time that they need. A class is left only below 95 % of its ratio, three
//! looks in a row. What is regressed is not learned; what has been so for `adopt_after_secs` is the new normal.

mod baseline;
mod file;
mod report;
mod samples;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Config;
use super::profile::{Digest, Measured};
use baseline::Baseline;
pub use file::Snapshot;
pub use report::{Regressed, Trend};
use series::{Series, Settings};

/// Pairs of backend and model that are watched.
const MOST_PAIRS: usize = 128;
/// A pair that has not been seen for this long makes room for another.
const IDLE: Duration = Duration::from_secs(900);
/// The time of a token is made of fewer only by chance.
const MIN_TOKENS: u64 = 5;

/// How often [`Regressions::tick`] is to be called.
pub const EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    #[default]
    Normal,
    Minor,
    Moderate,
    Severe,
}

impl Class {
    pub const fn name(self) -> &'static str {
        match self {
            Class::Normal => "normal",
            Class::Minor => "minor",
            Class::Moderate => "moderate",
            Class::Severe => "severe",
        }
    }
}

/// What is measured of a call. Tokens and chunks are apart: a backend that stops telling its tokens is not slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    FirstChunk,
    PerToken,
    PerChunk,
    /// Of answers that are not streamed.
    Duration,
}

impl Measure {
    const ALL: [Measure; 4] = [Measure::FirstChunk, Measure::PerToken, Measure::PerChunk, Measure::Duration];

    pub const fn name(self) -> &'static str {
        match self {
            Measure::FirstChunk => "first_chunk",
            Measure::PerToken => "per_token",
            Measure::PerChunk => "per_chunk",
            Measure::Duration => "duration",
        }
    }

    fn of(self, call: &Measured) -> Option<f64> {
        match self {
            Measure::FirstChunk => call.first_chunk,
            Measure::PerToken => call.per_token.filter(|_| call.output >= MIN_TOKENS),
            // Where tokens are known they are the better measure.
            Measure::PerChunk => call.per_chunk.filter(|_| call.per_token.is_none()),
            Measure::Duration => (!call.streams).then_some(call.duration),
        }
    }
}

/// Why a class is another now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Because {
    Slower,
    Faster,
    /// It has been so for so long that it is the new normal.
    Adopted,
    /// Nothing has been heard of it for long.
    Silent,
}

/// A series has another class than before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub backend: String,
    pub model: String,
    pub measure: Measure,
    pub was: Class,
    pub class: Class,
    pub because: Because,
    /// None where nothing was heard.
    pub ratio: Option<f64>,
    pub current_ms: Option<f64>,
    pub baseline_ms: f64,
    pub samples: usize,
}

type Key = (Arc<str>, Arc<str>);

struct Pair {
    seen: Instant,
    series: [Option<Box<Series>>; Measure::ALL.len()],
}

pub struct Regressions {
    backends: ArcSwap<Vec<Arc<str>>>,
    settings: ArcSwap<Settings>,
    file: file::File,
    state: Mutex<State>,
}

struct State {
    pairs: HashMap<Key, Pair>,
    random: fastrand::Rng,
    written: Instant,
}

impl Regressions {
    /// `backends` are the names of the settings' `[[backends]]`, in their order. It reads its file: not for a worker.
    pub fn open(config: &Config, backends: &[String], now: Instant) -> Self {
        let backends = named(backends);
        let file = file::File::new(config.baseline_path.clone());
        let mut pairs: HashMap<Key, Pair> = HashMap::new();
        for kept in file.read() {
            let Some(backend) = backends.iter().find(|name| ***name == *kept.backend) else { continue };
            let key = (backend.clone(), Arc::from(kept.model));
            if pairs.len() < MOST_PAIRS || pairs.contains_key(&key) {
                let pair = pairs.entry(key).or_insert_with(|| Pair::new(now));
                pair.series[kept.measure as usize] = Some(Box::new(Series::with(kept.baseline, now)));
            }
        }
        let state = State { pairs, random: fastrand::Rng::with_seed(0x5eed), written: now };
        let (backends, settings) = (ArcSwap::from_pointee(backends), ArcSwap::from_pointee(Settings::of(config)));
        Regressions { backends, settings, file, state: Mutex::new(state) }
    }

    /// Other settings from now on; `backends` are the names that backends have or had, by their places. What was learned
    /// stays, and so does the file.
    pub fn renew(&self, config: &Config, backends: &[String]) {
        self.backends.store(Arc::new(named(backends)));
        self.settings.store(Arc::new(Settings::of(config)));
    }

    /// Hears of the calls of a request that is over.
    pub fn count(&self, now: Instant, digest: &Digest) {
        if !digest.calls.iter().any(|call| call.is_good) {
            return;
        }
        let (backends, settings) = (self.backends.load(), self.settings.load());
        let mut state = self.state();
        for call in digest.calls.iter().filter(|call| call.is_good) {
            let Some((backend, model)) = backends.get(call.backend).zip(call.model.as_ref()) else { continue };
            // Many models at once: a change of their mix is no slow-down.
            if **model == *crate::labels::OTHER {
                continue;
            }
            state.take(now, &(backend.clone(), model.clone()), call, &settings);
        }
    }

    /// Looks at all: to be called every five seconds.
    pub fn tick(&self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        let settings = self.settings.load();
        let mut state = self.state();
        for ((backend, model), pair) in &mut state.pairs {
            for (measure, series) in Measure::ALL.into_iter().zip(&mut pair.series) {
                let Some(turn) = series.as_mut().and_then(|series| series.tick(now, &settings)) else { continue };
                changes.push(turn.told(backend, model, measure));
            }
        }
        changes
    }

    /// What is to be written, if it is time: at most once a minute. Writing waits for a disk: not for a worker.
    pub fn due(&self, now: Instant) -> Option<Snapshot> {
        let mut state = self.state();
        if !self.file.is_kept() || now.saturating_duration_since(state.written) < file::EVERY {
            return None;
        }
        state.written = now;
        drop(state);
        self.snapshot()
    }

    /// What is to be written at the end. None where nothing is kept.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.state();
        let learned = state.pairs.iter().flat_map(|((backend, model), pair)| {
            Measure::ALL.into_iter().zip(&pair.series).filter_map(|(measure, series)| {
                let baseline = series.as_ref()?.baseline?;
                Some(file::Kept { backend: backend.to_string(), model: model.to_string(), measure, baseline })
            })
        });
        self.file.snapshot(learned.collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(backends: &[String]) -> Vec<Arc<str>> {
    backends.iter().map(|name| Arc::from(name.as_str())).collect()
}

impl Pair {
    fn new(now: Instant) -> Self {
        Pair { seen: now, series: Default::default() }
    }

    fn class(&self) -> Class {
        self.series.iter().flatten().map(|series| series.class).max().unwrap_or_default()
    }

    fn knows(&self, settings: &Settings) -> bool {
        let is_ready = |baseline: &Baseline| baseline.is_ready(settings.min_samples);
        self.series.iter().flatten().any(|series| series.baseline.as_ref().is_some_and(is_ready))
    }
}

impl State {
    fn take(&mut self, now: Instant, key: &Key, call: &Measured, settings: &Settings) {
        if !self.pairs.contains_key(key) && !self.make_room(now, settings) {
            return;
        }
        let pair = self.pairs.entry(key.clone()).or_insert_with(|| Pair::new(now));
        pair.seen = pair.seen.max(now);
        for (measure, series) in Measure::ALL.into_iter().zip(&mut pair.series) {
            if let Some(seconds) = measure.of(call) {
                let series = series.get_or_insert_with(|| Box::new(Series::new(now)));
                series.samples.add(now, seconds, &mut self.random);
            }
        }
    }

    /// Lets one go that has been idle for long: of those that have not learned anything yet, if there is one.
    fn make_room(&mut self, now: Instant, settings: &Settings) -> bool {
        if self.pairs.len() < MOST_PAIRS {
            return true;
        }
        let idle = self.pairs.iter().filter(|(_, pair)| now.saturating_duration_since(pair.seen) >= IDLE);
        let Some((key, _)) = idle.min_by_key(|(_, pair)| (pair.knows(settings), pair.seen)) else { return false };
        let key = key.clone();
        self.pairs.remove(&key).is_some()
    }
}

#[cfg(test)]
mod tests;
