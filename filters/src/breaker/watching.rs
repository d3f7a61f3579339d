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
    /// Whether the client gave it less time than the settings do: then its being late says nothing of the backend.
    pub hurried: bool,
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

    /// What being too late counts as.
    pub fn late(&self) -> Outcome {
        if self.hurried { Outcome::Neutral } else { Outcome::Fault }
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
    /// What an error that the stream told of says of the backend.
    pub told: Option<Outcome>,
}

impl Watch for Watching {
    fn event(&mut self, event: &Event) {
        if matches!(event.kind, Kind::Comment | Kind::Prelude) {
            return;
        }
        if let Some(outcome) = verdict::told_by(event) {
            self.told = Some(outcome);
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
        let outcome = match end {
            End::Broken(Broken::TokenGap | Broken::TooLong) => self.held.late(),
            end => verdict::of_end(end, self.told),
        };
        self.held.ticket.settle(outcome);
    }
}
