//! The breaker of one backend and model: closed, open, or half-open for exactly its probes.
//!
//! The rules are linkerd's (`breaker/unified.rs` of linkerd2-proxy): so many faults in a row, or the success ratio of
//! a window of ten buckets; a third rule, slow first tokens, is our own. What a call that was let in before a change of
//! state tells after it is not heard (gobreaker's rule). A probe is a lease: it ends with its call, however that ends.
//!
//! All of it is one small value behind one lock, so every interleaving is one of whole steps.

mod saved;
mod state;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::window::Counts;
pub use saved::Saved;
pub use state::State;

/// What holds a value that several may change. Tests put one in its place that tries every order.
pub trait Lock<T>: Send + Sync {
    fn holding(value: T) -> Self;
    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R;
}

impl<T: Send> Lock<T> for Mutex<T> {
    fn holding(value: T) -> Self {
        Mutex::new(value)
    }

    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub consecutive_failures: u32,
    pub success_ratio: f64,
    pub min_requests: u32,
    pub window: Duration,
    pub slow_ttft: Duration,
    pub slow_ratio: f64,
    pub open: Duration,
    pub max_open: Duration,
    pub probes: u32,
    pub probe: Duration,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Fault,
    /// The backend has too much to do (429): it counts for the ratio, and never as a fault in a row.
    Limited,
    /// The backend does not take the key that it is asked with, and the key is ours.
    Unauthorized,
    /// It says nothing of the backend: the client's own error, or nobody waited for it.
    Neutral,
}

impl Outcome {
    pub const ALL: [Outcome; 5] =
        [Outcome::Good, Outcome::Fault, Outcome::Limited, Outcome::Unauthorized, Outcome::Neutral];

    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Good => "good",
            Outcome::Fault => "fault",
            Outcome::Limited => "limited",
            Outcome::Unauthorized => "unauthorized",
            Outcome::Neutral => "neutral",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Closed,
    Open,
    HalfOpen,
}

impl Phase {
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Closed => "closed",
            Phase::Open => "open",
            Phase::HalfOpen => "half_open",
        }
    }
}

/// Why a breaker is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    Start,
    ConsecutiveFailures,
    SuccessRatio,
    SlowFirstTokens,
    Unauthorized,
    ProbeFailed,
    OpenTimeOver,
    ProbesSucceeded,
    Operator,
}

impl Cause {
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::ConsecutiveFailures => "consecutive_failures",
            Cause::SuccessRatio => "success_ratio",
            Cause::SlowFirstTokens => "slow_first_tokens",
            Cause::Unauthorized => "unauthorized",
            Cause::ProbeFailed => "probe_failed",
            Cause::OpenTimeOver => "open_time_over",
            Cause::ProbesSucceeded => "probes_succeeded",
            Cause::Operator => "operator",
        }
    }
}

/// A change of state, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: Phase,
    pub to: Phase,
    pub cause: Cause,
    /// How long it stays open.
    pub open_for: Option<Duration>,
}

/// The right to make one call. It must be settled, once.
#[derive(Debug)]
#[must_use = "a pass that is not settled holds a probe until its time is over"]
pub struct Pass {
    epoch: u64,
    lease: Option<u64>,
}

impl Pass {
    pub fn is_probe(&self) -> bool {
        self.lease.is_some()
    }
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub phase: Phase,
    pub cause: Cause,
    pub since: Instant,
    /// When an open one lets its next probe through.
    pub until: Option<Instant>,
    pub counts: Counts,
    pub run: u32,
}

pub struct Gate<L = Mutex<State>> {
    rules: Rules,
    state: Arc<L>,
}

impl<L: Lock<State>> Gate<L> {
    pub fn new(rules: Rules, now: Instant) -> Self {
        let state = Arc::new(L::holding(State::new(&rules, now)));
        Gate { rules, state }
    }

    /// The same gate under other rules: it stands as it stood, and each caller goes by the rules that he has.
    pub fn renewed(&self, rules: Rules) -> Self {
        Gate { rules, state: self.state.clone() }
    }

    /// Counts over the window of its rules from now on.
    pub fn refit(&self, now: Instant) {
        self.state.with(|state| state.refit(&self.rules, now));
    }

    /// Lets a call in, or says when to come again. An open breaker whose time is over lets its probes in.
    pub fn enter(&self, now: Instant) -> (Result<Pass, Instant>, Option<Change>) {
        self.state.with(|state| state.enter(&self.rules, now))
    }

    /// When a call would be let in: now, where it gives none.
    pub fn shut_until(&self, now: Instant) -> Option<Instant> {
        self.state.with(|state| state.shut_until(&self.rules, now))
    }

    /// What came of a call; `may_eject` is asked before a rule of degree opens the breaker.
    pub fn settle(
        &self,
        pass: Pass,
        outcome: Outcome,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Change> {
        self.state.with(|state| state.settle(&self.rules, &pass, outcome, now, may_eject))
    }

    /// How long the first token of a call took.
    pub fn first_token(
        &self,
        pass: &Pass,
        took: Duration,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Change> {
        self.state.with(|state| state.first_token(&self.rules, pass, took, now, may_eject))
    }

    /// Whether a probe has held its lease so long that what it shows counts already.
    pub fn is_ripe(&self, pass: &Pass, begun: Instant, now: Instant) -> bool {
        pass.is_probe() && now.saturating_duration_since(begun) >= self.rules.probe
    }

    /// Begins anew, closed: what is known is forgotten, and what is under way is not heard.
    pub fn reset(&self, now: Instant) -> Option<Change> {
        self.state.with(|state| state.reset(now))
    }

    /// An open one whose time is over counts as half-open, though nobody has come to probe it yet.
    pub fn phase(&self, now: Instant) -> Phase {
        self.state.with(|state| state.phase_at(now))
    }

    /// What another process is to know.
    pub fn saved(&self, now: Instant) -> Saved {
        self.state.with(|state| state.saved(now))
    }

    /// Goes on where another process was; true where it is not closed.
    pub fn resume(&self, saved: &Saved, now: Instant) -> bool {
        self.state.with(|state| state.resume(saved, now))
    }

    pub fn standing(&self, now: Instant) -> Standing {
        self.state.with(|state| state.standing(now))
    }
}

#[cfg(test)]
mod tests;
