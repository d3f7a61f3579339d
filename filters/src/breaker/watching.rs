//! Sees an answer to its end, and says what that says of the backend.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::admission::Slot;
use super::gate::Outcome;
use super::lane::Ticket;
use super::pool::Plan;
use super::verdict;
use crate::reply::{Broken, Event, Kind};
use crate::{End, Watch};

/// What one call holds: its place at the backend and its say in the breaker.
pub struct Held {
    pub ticket: Ticket,
    pub slot: Slot,
    pub plan: Arc<Plan>,
    /// The class of the prompt's length, which the time to its first token depends on.
    pub class: u8,
}

impl Held {
    fn took(&self) -> Duration {
        self.ticket.begun().elapsed()
    }

    fn first_token(&mut self) {
        let took = self.took();
        self.ticket.first_token(took);
        self.slot.first_token(took, self.class);
        self.plan.first_tokens.record(took);
    }

    /// A whole answer is there.
    pub fn finished(mut self, outcome: Outcome, bytes: usize) {
        if outcome == Outcome::Good {
            let took = self.took();
            self.slot.finished(took, bytes as u64);
        }
        self.ticket.settle(outcome);
    }
}

/// Watches a stream.
pub struct Watching {
    pub held: Held,
    /// The first token is measured where tokens come one by one.
    pub streams: bool,
    pub seen: bool,
    pub failed: bool,
}

impl Watch for Watching {
    fn event(&mut self, event: &Event) {
        if event.kind == Kind::Comment {
            return;
        }
        if verdict::tells_of_a_fault(event) {
            self.failed = true;
            return;
        }
        if !std::mem::replace(&mut self.seen, true) && self.streams && event.kind == Kind::Data {
            self.held.first_token();
        }
        if self.held.ticket.is_probe() {
            self.held.ticket.flows();
        }
    }

    fn end(mut self: Box<Self>, end: &End) {
        if matches!(end, End::Broken(Broken::TokenGap)) {
            self.held.ticket.lane.member.stalls.fetch_add(1, Ordering::Relaxed);
        }
        self.held.ticket.settle(verdict::of_end(end, self.failed));
    }
}
