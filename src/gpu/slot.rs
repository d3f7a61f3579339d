//! What was last read of one vendor's cards, for whoever wants to know: nobody waits for a driver to look there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::card::{Card, Vendor};

/// How a driver stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was not asked yet.
    New,
    /// There is none, and none is missed.
    Off(String),
    Well,
    /// It was there, or is wanted, and does not answer as it should.
    Failing(String),
}

#[derive(Clone, Debug, Default)]
pub struct Versions {
    pub driver: Option<String>,
    pub library: Option<String>,
}

/// What was read, and when.
#[derive(Clone, Debug)]
pub struct Seen {
    pub vendor: Vendor,
    pub state: State,
    pub cards: Arc<[Card]>,
    pub versions: Versions,
    /// When the last look ended, and how long it took.
    pub at: Instant,
    pub took: Duration,
    /// The look that is under way has begun then.
    pub looking_since: Option<Instant>,
}

impl Seen {
    /// How long it has been so.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }

    /// How long the look that is under way has taken so far.
    pub fn looking_for(&self, now: Instant) -> Duration {
        self.looking_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether the driver has been asked, and has not answered for so long.
    pub fn is_stale(&self, now: Instant, fresh_for: Duration) -> bool {
        self.looking_for(now) > fresh_for
    }
}

/// Where one thread writes and many read.
#[derive(Debug)]
pub struct Slot(Mutex<Seen>);

impl Slot {
    pub fn new(vendor: Vendor) -> Self {
        Slot(Mutex::new(Seen {
            vendor,
            state: State::New,
            cards: Arc::default(),
            versions: Versions::default(),
            at: Instant::now(),
            took: Duration::ZERO,
            looking_since: None,
        }))
    }

    pub fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A look begins: from now on it may be seen to hang.
    pub fn begin(&self) -> Instant {
        let now = Instant::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).looking_since = Some(now);
        now
    }

    /// It has ended.
    pub fn end(&self, begun: Instant, change: impl FnOnce(&mut Seen)) -> Duration {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut seen);
        seen.at = Instant::now();
        seen.took = seen.at.saturating_duration_since(begun);
        seen.looking_since = None;
        seen.took
    }
}
