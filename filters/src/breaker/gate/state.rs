//! What stands under the gate's lock: where it stands, what it has counted, and each of its steps.

use std::time::Duration;

use tokio::time::Instant;

use super::{Cause, Change, Outcome, Pass, Phase, Rules, Standing};
use crate::breaker::window::{Counts, Window, is_below};

pub struct State {
    pub(super) place: Place,
    /// Counts the changes of state.
    pub(super) epoch: u64,
    pub(super) cause: Cause,
    pub(super) since: Instant,
    pub(super) window: Window,
    /// Faults in a row, and refusals of our key in a row.
    pub(super) run: u32,
    pub(super) unauthorized: u32,
    /// Times it has opened without having stayed closed for a window in between.
    pub(super) trips: u32,
}

pub(super) enum Place {
    Closed,
    Open { until: Instant },
    HalfOpen { leases: Vec<(u64, Instant)>, succeeded: u32, next: u64 },
}

impl State {
    pub fn new(rules: &Rules, now: Instant) -> Self {
        State {
            place: Place::Closed,
            epoch: 0,
            cause: Cause::Start,
            since: now,
            window: Window::new(rules.window, now),
            run: 0,
            unauthorized: 0,
            trips: 0,
        }
    }

    pub fn refit(&mut self, rules: &Rules, now: Instant) {
        self.window.refit(rules.window, now);
    }

    pub fn standing(&mut self, now: Instant) -> Standing {
        Standing {
            phase: self.phase_at(now),
            cause: self.cause,
            since: self.since,
            until: match self.place {
                Place::Open { until } => Some(until),
                _ => None,
            },
            counts: self.window.counts(now),
            run: self.run,
        }
    }

    pub fn reset(&mut self, now: Instant) -> Option<Change> {
        self.trips = 0;
        let change = self.turn(Place::Closed, Cause::Operator, now);
        (change.from != Phase::Closed).then_some(change)
    }

    fn phase(&self) -> Phase {
        match self.place {
            Place::Closed => Phase::Closed,
            Place::Open { .. } => Phase::Open,
            Place::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    pub fn phase_at(&self, now: Instant) -> Phase {
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

    pub fn enter(&mut self, rules: &Rules, now: Instant) -> (Result<Pass, Instant>, Option<Change>) {
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

    pub fn shut_until(&self, rules: &Rules, now: Instant) -> Option<Instant> {
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

    pub fn settle(
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
                        (*succeeded >= rules.probes).then(|| self.turn(Place::Closed, Cause::ProbesSucceeded, now))
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
        (low && may_eject()).then(|| self.open(rules, Cause::SuccessRatio, now))
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

    pub fn first_token(
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
        (many && slow == 1 && may_eject()).then(|| self.open(rules, Cause::SlowFirstTokens, now))
    }
}

/// Up to half of it more; at the top up to a third less, so that many sidecars do not come back at once.
fn jittered(base: Duration, most: Duration) -> Duration {
    let chance = fastrand::f64();
    let longer = base.mul_f64(1.0 + 0.5 * chance);
    if longer > most { most.mul_f64(1.0 - chance / 3.0) } else { longer }
}
