//! What an admitted request holds of its limits. Dropped, it gives back what was not spent.

use std::sync::{Arc, Mutex, PoisonError};

use super::ledger::Line;
use super::limit::Unit;
use super::limiter::{Limiter, Mode, Verdict};
use super::log::Nanos;
use super::remote::{Kind, Lease, Micros, Settle};

/// What a request has really cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub input: u64,
    pub output: u64,
}

pub struct Permit {
    /// Under whose settings it was admitted, and is settled.
    limiter: Option<Arc<Limiter>>,
    lease: Lease,
    pub mode: Mode,
    held: Vec<Held>,
    /// What the store knows of it, if it was asked.
    placed: Option<Arc<Mutex<Late>>>,
    pub verdicts: Vec<Verdict>,
    /// What is charged when the permit goes.
    pub spent: Spent,
}

/// One limit's part.
pub struct Held {
    pub line: Line,
    pub stamp: Nanos,
}

/// Where the store's answer stands.
#[derive(Debug)]
pub enum Late {
    /// It has not come; the request was decided without it.
    Awaited,
    /// The store holds the request since then, by its own clock.
    Placed(Micros),
    /// The request was refused without the answer.
    Refused,
    /// The request is over, at these costs.
    Settled(Vec<u64>),
}

impl Permit {
    pub(super) fn new(
        limiter: Option<Arc<Limiter>>,
        lease: Lease,
        mode: Mode,
        held: Vec<Held>,
        verdicts: Vec<Verdict>,
    ) -> Permit {
        Permit { limiter, lease, mode, held, placed: None, verdicts, spent: Spent::default() }
    }

    pub(super) fn placed(mut self, placed: Arc<Mutex<Late>>) -> Permit {
        self.placed = Some(placed);
        self
    }

    /// Whether anything is held until the answer's end: requests are spent when they are admitted.
    pub fn holds(&self) -> bool {
        self.held.iter().any(|held| held.line.kind != Kind::Window)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limiter) = self.limiter.take().filter(|_| self.holds()) else { return };
        let Spent { input, output } = self.spent;
        let actual = |held: &Held| match limiter.rules.get(held.line.rule).map(|rule| rule.unit) {
            Some(Unit::Tokens) => input + output,
            Some(Unit::InputTokens) => input,
            Some(Unit::OutputTokens) => output,
            _ => held.line.cost,
        };
        let actual: Vec<u64> = self.held.iter().map(actual).collect();
        let heir = limiter.heir.now();
        for (held, actual) in self.held.iter().zip(&actual) {
            if held.line.kind != Kind::Window {
                limiter.metrics.release(held.line.rule, held.line.cost);
            }
            let over = limiter.ledger.settle(&held.line, held.stamp, self.lease, *actual);
            limiter.metrics.overshot(held.line.rule, over);
            if let Some(tell) = &*heir {
                limiter.tell_settled(tell, &held.line, (self.lease, held.stamp), *actual);
            }
        }
        drop(heir);
        let Some(placed) = &self.placed else {
            // The store may have been told of a request in flight since.
            let lines: Vec<Line> = self.held.drain(..).map(|held| held.line).collect();
            let told: Vec<Line> = lines.into_iter().filter(|line| line.kind == Kind::Concurrent).collect();
            return limiter.settle_remotely(&told, self.lease, 0, &vec![1; told.len()]);
        };
        let mut placed = placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Late::Placed(at) = *placed {
            let lines: Vec<Line> = self.held.drain(..).map(|held| held.line).collect();
            limiter.settle_remotely(&lines, self.lease, at, &actual);
        } else {
            *placed = Late::Settled(actual);
        }
    }
}

impl Limiter {
    /// Tells the store what a request cost in the end.
    pub(super) fn settle_remotely(&self, lines: &[Line], lease: Lease, at: Micros, actual: &[u64]) {
        let Some(remote) = &self.remote else { return };
        for (line, actual) in lines.iter().zip(actual) {
            if line.kind == Kind::Window && *actual == line.cost {
                continue;
            }
            let known = line.account.state().known(line.kind);
            remote.settle(Settle { limit: line.limit(), lease, at, reserved: line.cost, actual: *actual, known });
        }
    }
}
