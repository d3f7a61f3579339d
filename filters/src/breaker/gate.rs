//! The breaker of one backend and model: closed, open, or half-open for exactly its probes.
//!
//! The rules are linkerd's (`breaker/unified.rs` of linkerd2-proxy): so many faults in a row, or the success ratio of
//! a window of ten buckets; a third rule, slow first tokens, is our own. What a call that was let in before a change of
//! state tells after it is not heard (gobreaker's rule). A probe is a lease: it ends with its call, however that ends.
//!
//! All of it is one small value behind one lock, so every interleaving is one of whole steps.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::window::{Counts, Window, is_below};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

pub struct State {
    place: Place,
    /// Counts the changes of state.
    epoch: u64,
    cause: Cause,
    since: Instant,
    window: Window,
    /// Faults in a row, and refusals of our key in a row.
    run: u32,
    unauthorized: u32,
    /// Times it has opened without having stayed closed for a window in between.
    trips: u32,
}

enum Place {
    Closed,
    Open { until: Instant },
    HalfOpen { leases: Vec<(u64, Instant)>, succeeded: u32, next: u64 },
}

pub struct Gate<L = Mutex<State>> {
    rules: Rules,
    state: L,
}

impl<L: Lock<State>> Gate<L> {
    pub fn new(rules: Rules, now: Instant) -> Self {
        let window = Window::new(rules.window, now);
        let state = State {
            place: Place::Closed,
            epoch: 0,
            cause: Cause::Start,
            since: now,
            window,
            run: 0,
            unauthorized: 0,
            trips: 0,
        };
        Gate { rules, state: L::holding(state) }
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
        self.state.with(|state| {
            state.trips = 0;
            let change = state.close(Cause::Operator, now);
            (change.from != Phase::Closed).then_some(change)
        })
    }

    /// An open one whose time is over counts as half-open, though nobody has come to probe it yet.
    pub fn phase(&self, now: Instant) -> Phase {
        self.state.with(|state| state.phase_at(now))
    }

    pub fn standing(&self, now: Instant) -> Standing {
        self.state.with(|state| Standing {
            phase: state.phase_at(now),
            cause: state.cause,
            since: state.since,
            until: match state.place {
                Place::Open { until } => Some(until),
                _ => None,
            },
            counts: state.window.counts(now),
            run: state.run,
        })
    }
}

impl State {
    fn phase(&self) -> Phase {
        match self.place {
            Place::Closed => Phase::Closed,
            Place::Open { .. } => Phase::Open,
            Place::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    fn phase_at(&self, now: Instant) -> Phase {
        match self.place {
            Place::Open { until } if until <= now => Phase::HalfOpen,
            _ => self.phase(),
        }
    }

    fn turn(&mut self, place: Place, cause: Cause, now: Instant) -> Change {
        let from = self.phase();
        self.place = place;
        self.epoch += 1;
        (self.cause, self.since) = (cause, now);
        (self.run, self.unauthorized) = (0, 0);
        self.window.clear();
        let open_for = match self.place {
            Place::Open { until } => Some(until - now),
            _ => None,
        };
        Change { from, to: self.phase(), cause, open_for }
    }

    fn open(&mut self, rules: &Rules, cause: Cause, now: Instant) -> Change {
        let stayed_closed = matches!(self.place, Place::Closed) && now - self.since >= rules.window;
        self.trips = if stayed_closed { 0 } else { self.trips };
        let base = rules.open.saturating_mul(1 << self.trips.min(16)).min(rules.max_open);
        self.trips += 1;
        self.turn(Place::Open { until: now + jittered(base, rules.max_open) }, cause, now)
    }

    fn close(&mut self, cause: Cause, now: Instant) -> Change {
        self.turn(Place::Closed, cause, now)
    }

    fn enter(&mut self, rules: &Rules, now: Instant) -> (Result<Pass, Instant>, Option<Change>) {
        let mut change = None;
        if let Place::Open { until } = self.place {
            if now < until {
                return (Err(until), None);
            }
            let half_open = Place::HalfOpen { leases: Vec::new(), succeeded: 0, next: 0 };
            change = Some(self.turn(half_open, Cause::OpenTimeOver, now));
        }
        let epoch = self.epoch;
        let Place::HalfOpen { leases, succeeded, next } = &mut self.place else {
            return (Ok(Pass { epoch, lease: None }), change);
        };
        leases.retain(|(_, until)| now < *until);
        if leases.len() as u32 + *succeeded >= rules.probes {
            let soonest = leases.iter().map(|(_, until)| *until).min().unwrap_or(now);
            // A probe takes as long as an answer; its lease is only the longest that it may take.
            return (Err(soonest.min(now + rules.open)), change);
        }
        let lease = *next;
        *next += 1;
        leases.push((lease, now + rules.probe));
        (Ok(Pass { epoch, lease: Some(lease) }), change)
    }

    fn shut_until(&self, rules: &Rules, now: Instant) -> Option<Instant> {
        match &self.place {
            Place::Closed => None,
            Place::Open { until } => (now < *until).then_some(*until),
            Place::HalfOpen { leases, succeeded, .. } => {
                let held = leases.iter().map(|(_, until)| *until).filter(|until| now < *until);
                let full = held.clone().count() as u32 + *succeeded >= rules.probes;
                full.then(|| held.min().unwrap_or(now).min(now + rules.open))
            }
        }
    }

    fn settle(
        &mut self,
        rules: &Rules,
        pass: &Pass,
        outcome: Outcome,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Change> {
        if pass.epoch != self.epoch {
            return None;
        }
        match (&mut self.place, pass.lease) {
            (Place::Closed, _) => self.count(rules, outcome, now, may_eject),
            (Place::HalfOpen { leases, succeeded, .. }, Some(lease)) => {
                leases.retain(|(held, _)| *held != lease);
                match outcome {
                    Outcome::Neutral => None,
                    Outcome::Good => {
                        *succeeded += 1;
                        (*succeeded >= rules.probes).then(|| self.close(Cause::ProbesSucceeded, now))
                    }
                    _ => Some(self.open(rules, Cause::ProbeFailed, now)),
                }
            }
            // Nobody is let in while it is open, and none without a lease while it is half-open.
            _ => None,
        }
    }

    fn count(
        &mut self,
        rules: &Rules,
        outcome: Outcome,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Change> {
        let background = self.window.counts(now);
        let (good, bad) = match outcome {
            Outcome::Neutral => return None,
            Outcome::Good => (1, 0),
            Outcome::Fault | Outcome::Limited | Outcome::Unauthorized => (0, 1),
        };
        self.window.add(now, Counts { good, bad, ..Counts::default() });
        match outcome {
            Outcome::Good => (self.run, self.unauthorized) = (0, 0),
            Outcome::Fault => self.run += 1,
            Outcome::Unauthorized => self.unauthorized += 1,
            Outcome::Limited | Outcome::Neutral => {}
        }
        if self.run >= self.needed(rules, background) {
            return Some(self.open(rules, Cause::ConsecutiveFailures, now));
        }
        if self.unauthorized >= rules.consecutive_failures {
            return Some(self.open(rules, Cause::Unauthorized, now));
        }
        let counts = self.window.counts(now);
        let low = counts.calls() >= rules.min_requests && is_below(counts.good, counts.calls(), rules.success_ratio);
        self.open_softly(rules, low.then_some(Cause::SuccessRatio)?, now, may_eject)
    }

    /// Faults in a row that open it: as set, and up to twice that where faults are strewn about, so that not
    /// one run in a thousand million is chance.
    fn needed(&self, rules: &Rules, background: Counts) -> u32 {
        const CHANCE: f64 = 1e-9;
        let least = rules.consecutive_failures;
        let strewn = background.bad.saturating_sub(self.run.saturating_sub(1));
        if strewn == 0 || background.calls() < rules.min_requests {
            return least;
        }
        let share = f64::from(strewn) / f64::from(background.calls());
        let unlikely = CHANCE.ln() / share.ln();
        if unlikely.is_finite() { (unlikely.ceil() as u32).clamp(least, least.saturating_mul(2)) } else { least }
    }

    fn first_token(
        &mut self,
        rules: &Rules,
        pass: &Pass,
        took: Duration,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Change> {
        if pass.epoch != self.epoch || self.phase() != Phase::Closed {
            return None;
        }
        let slow = u32::from(took > rules.slow_ttft);
        self.window.add(now, Counts { first_tokens: 1, slow, ..Counts::default() });
        let counts = self.window.counts(now);
        let many = counts.first_tokens >= rules.min_requests
            && f64::from(counts.slow) >= rules.slow_ratio * f64::from(counts.first_tokens);
        self.open_softly(rules, (many && slow == 1).then_some(Cause::SlowFirstTokens)?, now, may_eject)
    }

    /// Opens it for a matter of degree, where a backend that still answers some is not better than none.
    fn open_softly(
        &mut self,
        rules: &Rules,
        cause: Cause,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Change> {
        may_eject().then(|| self.open(rules, cause, now))
    }
}

/// Up to half of it more; at the top up to a third less, so that many sidecars do not come back at once.
fn jittered(base: Duration, most: Duration) -> Duration {
    let chance = fastrand::f64();
    let longer = base.mul_f64(1.0 + 0.5 * chance);
    if longer > most { most.mul_f64(1.0 - chance / 3.0) } else { longer }
}

#[cfg(test)]
mod tests;
