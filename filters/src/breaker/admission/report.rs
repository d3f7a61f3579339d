//! How admission stands, for the admin port and for metrics.

use std::time::Duration;

use serde::Serialize;

use super::room::Room;

/// What is counted against the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Requests,
    /// Prompt and expected output, where the backend's room for tokens is known.
    Tokens,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    #[error("everybody who may wait does")]
    QueueFull,
    /// Told on arrival.
    #[error("it would have waited for too long")]
    WouldWaitTooLong,
    #[error("somebody of a higher priority took its place")]
    Evicted,
    #[error("its time ran out while it waited")]
    Expired,
    /// The backend is out; another one may have room.
    #[error("the backend is out")]
    Moved,
}

impl Why {
    pub const ALL: [Why; 5] = [Why::QueueFull, Why::WouldWaitTooLong, Why::Evicted, Why::Expired, Why::Moved];

    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Why::QueueFull => "queue_full",
            Why::WouldWaitTooLong => "would_wait_too_long",
            Why::Evicted => "evicted",
            Why::Expired => "expired",
            Why::Moved => "moved",
        }
    }
}

/// The requests that were not let in since the start, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sheds {
    pub queue_full: u64,
    pub would_wait_too_long: u64,
    pub evicted: u64,
    pub expired: u64,
    pub moved: u64,
}

impl Sheds {
    pub const fn of(&self, why: Why) -> u64 {
        match why {
            Why::QueueFull => self.queue_full,
            Why::WouldWaitTooLong => self.would_wait_too_long,
            Why::Evicted => self.evicted,
            Why::Expired => self.expired,
            Why::Moved => self.moved,
        }
    }

    pub(super) const fn count(&mut self, why: Why) {
        let count = match why {
            Why::QueueFull => &mut self.queue_full,
            Why::WouldWaitTooLong => &mut self.would_wait_too_long,
            Why::Evicted => &mut self.evicted,
            Why::Expired => &mut self.expired,
            Why::Moved => &mut self.moved,
        };
        *count += 1;
    }

    pub const fn sum(&self) -> u64 {
        self.queue_full + self.would_wait_too_long + self.evicted + self.expired + self.moved
    }
}

/// Who waits, by priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Queued {
    pub low: usize,
    pub normal: usize,
    pub high: usize,
}

impl Queued {
    pub const fn sum(&self) -> u64 {
        (self.low + self.normal + self.high) as u64
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What `limit`, `used` and `running` count.
    pub unit: Unit,
    /// What may be in flight: what was learned, or the backend's capacity where that is less.
    pub limit: u64,
    /// Units in flight.
    pub used: u64,
    /// Of them, those whose first token has come.
    pub running: u64,
    pub requests: u64,
    /// Requests and tokens together are told, whichever of them is counted.
    pub tokens: u64,
    pub capacity_tokens: Option<u64>,
    pub queued: Queued,
    /// Requests that had to wait, since the start, whatever became of them.
    pub waited: u64,
    /// How long a usual request would wait if it came now.
    pub expected_wait_ms: u64,
    /// Of the last window; 1 is no congestion.
    pub gradient: f64,
    pub shed: Sheds,
}

impl Report {
    pub(super) fn of(room: &Room, expected_wait: Duration) -> Report {
        let [low, normal, high] = room.queue.lengths();
        let load = room.load;
        Report {
            unit: room.unit(),
            limit: room.allowed(),
            used: room.used(),
            running: room.running(),
            requests: load.requests,
            tokens: load.tokens,
            capacity_tokens: room.capacity,
            queued: Queued { low, normal, high },
            waited: room.waited,
            expected_wait_ms: u64::try_from(expected_wait.as_millis()).unwrap_or(u64::MAX),
            gradient: room.limit.gradient,
            shed: room.sheds,
        }
    }
}
