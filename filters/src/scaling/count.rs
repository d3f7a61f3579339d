//! How many there are: a number is taken for true once it has stood for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::Direction;

/// How long a new number must stand.
pub const STANDS: Duration = Duration::from_secs(3);
/// One that never stands is taken as it is after this.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) enum Count {
    /// Nobody has said yet, or not for long enough.
    #[default]
    Unknown,
    Settled(u32),
    Moving {
        /// None: it was unknown.
        from: Option<u32>,
        to: u32,
        /// When it first was another than `from`.
        begun: Instant,
        /// Since when it has been `to`.
        since: Instant,
    },
}

/// A number that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub from: u32,
    pub to: u32,
    pub begun: Instant,
}

impl Moved {
    pub fn direction(self) -> Direction {
        if self.to > self.from { Direction::Up } else { Direction::Down }
    }
}

impl Count {
    /// Takes the number that is seen now, and says of a change once it has stood. The first number is none.
    pub fn look(&mut self, now: Instant, seen: Option<u32>) -> Option<Moved> {
        let Some(seen) = seen else {
            // What has stood for a part of the time only may have changed again unseen.
            *self = self.before();
            return None;
        };
        let (from, begun, since) = match *self {
            Count::Settled(settled) if settled == seen => return None,
            Count::Settled(settled) => (Some(settled), now, now),
            Count::Unknown => (None, now, now),
            Count::Moving { from, .. } if from == Some(seen) => {
                *self = Count::Settled(seen);
                return None;
            }
            Count::Moving { from, to, begun, since } => (from, begun, if to == seen { since } else { now }),
        };
        if now - since < STANDS && now - begun < PATIENCE {
            *self = Count::Moving { from, to: seen, begun, since };
            return None;
        }
        *self = Count::Settled(seen);
        from.map(|from| Moved { from, to: seen, begun })
    }

    pub const fn settled(&self) -> Option<u32> {
        match *self {
            Count::Unknown => None,
            Count::Settled(settled) => Some(settled),
            Count::Moving { from, .. } => from,
        }
    }

    fn before(&self) -> Self {
        self.settled().map_or(Count::Unknown, Count::Settled)
    }
}
