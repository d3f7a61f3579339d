//! What `GET /api/performance/metrics` answers. Its keys are promised: they are described in the documentation.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::digest::part;
use super::{Lane, Model, Profile, State, Whole};
use crate::windows::{Count, Counts, Summary, Sums, Window, Windows, round, share};

const PARTS_THAT_ARE_NO_ROOM: [&str; 5] = [part::WAITING, part::GENERATING, part::FOLLOWING, part::CLIENT, part::OTHER];

/// What the report reads of a part of the time.
pub struct PartSeen {
    pub name: &'static str,
    pub is_room: bool,
    pub summary: Summary,
}

/// What the report reads of a backend for a model.
pub struct LaneSeen {
    pub backend: String,
    pub model: String,
    pub calls: u64,
    pub error_share: Option<f64>,
    pub first_chunk: Option<Summary>,
    pub per_output: Option<Summary>,
    pub duration: Option<Summary>,
}

/// What the report reads: one window.
pub struct Reviewed {
    pub requests: u64,
    /// Those whose time is in the parts.
    pub answered: u64,
    pub head: Option<Summary>,
    pub duration: Option<Summary>,
    pub parts: Vec<PartSeen>,
    pub lanes: Vec<LaneSeen>,
    pub allowance: f64,
}

impl Profile {
    pub fn metrics(&self, now: Instant) -> Value {
        let mut state = self.state();
        state.sweep(now);
        let state = &*state;
        let rooms = state.parts.all(now).into_iter().filter(|(name, _)| !PARTS_THAT_ARE_NO_ROOM.contains(name));
        let parts = state.parts.all(now).into_iter().filter(|(name, _)| PARTS_THAT_ARE_NO_ROOM.contains(name));
        let named = |(name, windows): (&&'static str, &Windows)| ((*name).to_owned(), summaries(windows, now));
        let models = state.models.all(now).into_iter().map(|(name, model)| (name.to_string(), model.json(now)));
        let backends = state.backends.all(now).into_iter().map(|(name, lane)| (name.to_string(), lane.json(now)));
        let pairs = state.pairs.all(now).into_iter().map(|((backend, model), lane)| {
            let mut told = lane.json(now);
            told["backend"] = json!(backend.as_ref());
            told["model"] = json!(model.as_ref());
            told
        });
        json!({
            "windows": Window::ALL.map(Window::name),
            "uptime_seconds": round(now.saturating_duration_since(state.begun).as_secs_f64()),
            "whole": state.whole.json(now),
            "rooms": rooms.map(named).collect::<Map<_, _>>(),
            "parts": parts.map(named).collect::<Map<_, _>>(),
            "models": models.collect::<Map<_, _>>(),
            "backends": backends.collect::<Map<_, _>>(),
            "calls": pairs.collect::<Vec<_>>(),
        })
    }

    pub fn review(&self, now: Instant, window: Window) -> Reviewed {
        let state = self.state();
        let parts = state.parts.all(now).into_iter().filter_map(|(name, windows)| {
            let is_room = !PARTS_THAT_ARE_NO_ROOM.contains(name);
            Some(PartSeen { name, is_room, summary: windows.summary(now, window)? })
        });
        let lanes = state.pairs.all(now).into_iter().map(|((backend, model), lane)| {
            let sums = lane.counts.sums(now, window);
            LaneSeen {
                backend: backend.to_string(),
                model: model.to_string(),
                calls: sums.of(Count::All),
                error_share: sums.error_share(),
                first_chunk: lane.first_chunk.summary(now, window),
                per_output: lane.per_output.summary(now, window),
                duration: lane.duration.summary(now, window),
            }
        });
        let duration = state.whole.duration.summary(now, window);
        Reviewed {
            requests: state.whole.counts.sums(now, window).of(Count::All),
            answered: duration.map_or(0, |summary| summary.count),
            head: state.whole.head.summary(now, window),
            duration,
            parts: parts.collect(),
            lanes: lanes.collect(),
            allowance: self.settings.load().allowance,
        }
    }
}

impl State {
    fn sweep(&mut self, now: Instant) {
        self.parts.sweep(now);
        self.models.sweep(now);
        self.backends.sweep(now);
        self.pairs.sweep(now);
    }
}

/// One object for each window, made of its parts.
fn each_window(of: impl Fn(Window) -> Value) -> Value {
    Value::Object(Window::ALL.map(|window| (window.name().to_owned(), of(window))).into_iter().collect())
}

fn summaries(windows: &Windows, now: Instant) -> Value {
    each_window(|window| summary(windows, now, window))
}

fn summary(windows: &Windows, now: Instant, window: Window) -> Value {
    windows.summary(now, window).map_or(Value::Null, |summary| summary.json())
}

/// What all counts have.
fn rates(sums: &Sums) -> Value {
    json!({
        "count": sums.of(Count::All),
        "per_second": round(sums.per_second(Count::All)),
        "errors": sums.errors(),
        "error_share": sums.error_share().map(round),
        "errors_by_class": {
            "timeout": sums.of(Count::Timeouts), "overload": sums.of(Count::Overloads),
            "backend": sums.of(Count::BackendErrors), "own": sums.of(Count::OwnErrors),
        },
        "client_errors": sums.of(Count::ClientErrors),
        "abandoned": sums.of(Count::Abandoned),
        "tokens_in_per_second": round(sums.per_second(Count::TokensIn)),
        "tokens_out_per_second": round(sums.per_second(Count::TokensOut)),
    })
}

fn sums(counts: &Counts, now: Instant, window: Window) -> (Value, Sums) {
    let sums = counts.sums(now, window);
    (rates(&sums), sums)
}

impl Whole {
    fn json(&self, now: Instant) -> Value {
        each_window(|window| {
            let (mut told, sums) = sums(&self.counts, now, window);
            told["errors_per_second"] = json!(round(sums.errors() as f64 / sums.seconds()));
            told["cache_hit_share"] = json!(sums.cache_hit_share().map(round));
            told["follower_share"] = json!(share(sums.of(Count::Followers), sums.of(Count::All)).map(round));
            told["passed"] = json!(sums.of(Count::Passed));
            told["duration"] = summary(&self.duration, now, window);
            told["first_token"] = summary(&self.first_token, now, window);
            told["per_token"] = summary(&self.per_token, now, window);
            told["head"] = summary(&self.head, now, window);
            told
        })
    }
}

impl Model {
    fn json(&self, now: Instant) -> Value {
        each_window(|window| {
            let (mut told, sums) = sums(&self.counts, now, window);
            told["cache_hit_share"] = json!(sums.cache_hit_share().map(round));
            told["duration"] = summary(&self.duration, now, window);
            told["first_token"] = summary(&self.first_token, now, window);
            told["per_token"] = summary(&self.per_token, now, window);
            told
        })
    }
}

impl Lane {
    fn json(&self, now: Instant) -> Value {
        each_window(|window| {
            let (mut told, sums) = sums(&self.counts, now, window);
            told["retries"] = json!(sums.of(Count::Retries));
            told["first_chunk"] = summary(&self.first_chunk, now, window);
            told["per_output"] = summary(&self.per_output, now, window);
            told["duration"] = summary(&self.duration, now, window);
            told
        })
    }
}
