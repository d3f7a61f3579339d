//! The breaker before the store: up or down, in one place, watched by whoever must know at once.

use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    Down { since: Instant, reason: Fault },
}

impl Health {
    pub fn is_up(&self) -> bool {
        matches!(self, Health::Up)
    }
}

/// Timeouts in a row that put the store down.
const TIMEOUTS: u32 = 3;

#[derive(Clone, Copy)]
struct State {
    health: Health,
    /// Counts the times of being up: what an older connection meets says nothing of the present.
    epoch: u64,
}

pub(super) struct Breaker {
    state: watch::Sender<State>,
    timeouts: Mutex<Timeouts>,
}

#[derive(Default)]
struct Timeouts {
    count: u32,
    last: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        let health = Health::Down { since: Instant::now(), reason: Fault::NotTried };
        Breaker { state: watch::Sender::new(State { health, epoch: 0 }), timeouts: Mutex::default() }
    }
}

impl Breaker {
    pub(super) fn now(&self) -> Health {
        self.state.borrow().health
    }

    pub(super) fn epoch_if_up(&self) -> Option<u64> {
        let state = self.state.borrow();
        state.health.is_up().then_some(state.epoch)
    }

    pub(super) fn answered(&self) {
        let mut timeouts = self.timeouts.lock().unwrap_or_else(PoisonError::into_inner);
        timeouts.count = 0;
    }

    /// Notes a timeout of a call begun then. True with the last of three in a row: each begun after the
    /// one before was given up, since requests that wait side by side would all time out at one hiccup.
    pub(super) fn slow(&self, begun: Instant) -> bool {
        let mut timeouts = self.timeouts.lock().unwrap_or_else(PoisonError::into_inner);
        if timeouts.count == 0 || timeouts.last.is_none_or(|last| begun >= last) {
            timeouts.count += 1;
            timeouts.last = Some(Instant::now());
        }
        timeouts.count >= TIMEOUTS
    }

    /// True if this is what put it down.
    pub(super) fn fall(&self, reason: Fault, epoch: u64) -> bool {
        self.state.send_if_modified(|state| {
            let falls = state.health.is_up() && state.epoch == epoch;
            if falls {
                state.health = Health::Down { since: Instant::now(), reason };
            }
            falls
        })
    }

    /// Says why it is still down.
    pub(super) fn still(&self, reason: Fault) -> bool {
        self.state.send_if_modified(|state| match &mut state.health {
            Health::Down { reason: known, .. } if *known != reason => {
                *known = reason;
                true
            }
            _ => false,
        })
    }

    /// The epoch that begins, if this is what put it up.
    pub(super) fn rise(&self) -> Option<u64> {
        self.answered();
        let mut begun = None;
        self.state.send_if_modified(|state| {
            if !state.health.is_up() {
                state.health = Health::Up;
                state.epoch += 1;
                begun = Some(state.epoch);
            }
            begun.is_some()
        });
        begun
    }

    pub(super) async fn wait(&self, wanted: impl Fn(&Health) -> bool) {
        // The sender lives as long as this.
        let _ = self.state.subscribe().wait_for(|state| wanted(&state.health)).await;
    }

    /// Waits until this epoch is over.
    pub(super) async fn over(&self, epoch: u64) {
        let _ = self.state.subscribe().wait_for(|state| state.epoch != epoch || !state.health.is_up()).await;
    }
}
