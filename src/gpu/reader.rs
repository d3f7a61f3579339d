//! A thread that asks one vendor's driver: how often, and when again where it does not answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tokio::time::Instant;

use super::card::{Card, Vendor};
use super::slot::Versions;
use super::{Gpu, Seen, Slot, State};

/// What changes seldom is read on every so many looks.
pub const SELDOM: u32 = 10;

pub struct Reader {
    pub slot: Arc<Slot>,
    /// Who wants to know.
    pub alive: Weak<Gpu>,
    pub every: Duration,
    pub retry: Duration,
    /// Whether it is a fault where there is no card.
    pub is_wanted: bool,
    pub vendor: Vendor,
    pub times: Histogram<f64>,
}

/// Why there is nothing to be read.
pub enum Nothing {
    /// There is no driver or no card.
    Absent(String),
    /// There is one, and it fails.
    Fails(String),
}

impl Reader {
    pub fn goes_on(&self) -> bool {
        self.alive.strong_count() > 0
    }

    pub fn wait(&self, time: Duration) {
        std::thread::park_timeout(time);
    }

    pub fn begin(&self) -> Instant {
        self.slot.begin()
    }

    /// Tells what a look has found.
    pub fn found(&self, begun: Instant, cards: Vec<Card>, versions: &Versions) {
        self.end(begun, |seen| {
            seen.state = State::Well;
            seen.cards = cards.into();
            seen.versions.clone_from(versions);
        });
    }

    /// Tells that a look has found nothing, and why.
    pub fn missed(&self, begun: Instant, nothing: Nothing) {
        self.end(begun, |seen| {
            // What was there once is missed; and so it is where it failed, whatever it says next.
            let is_missed = self.is_wanted || !matches!(seen.state, State::New | State::Off(_));
            seen.state = match nothing {
                Nothing::Absent(why) if !is_missed => State::Off(why),
                Nothing::Absent(why) | Nothing::Fails(why) => State::Failing(why),
            };
            seen.cards = Arc::default();
        });
    }

    fn end(&self, begun: Instant, change: impl FnOnce(&mut Seen)) {
        let took = self.slot.end(begun, change);
        self.times.record(took.as_secs_f64(), &[KeyValue::new("vendor", self.vendor.name())]);
    }
}
