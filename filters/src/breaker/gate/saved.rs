//! A breaker as another process takes it over: as of one moment, with spans in the place of times.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::state::{Place, State};
use super::{Cause, Phase};
use crate::breaker::window::Counts;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// How much longer it is open, if it is. One that is half-open begins to probe anew: its probes are not ours.
    open_for: Option<Duration>,
    cause: Cause,
    counts: Counts,
    run: u32,
    unauthorized: u32,
    trips: u32,
}

impl State {
    pub fn saved(&mut self, now: Instant) -> Saved {
        Saved {
            open_for: match self.place {
                Place::Closed => None,
                Place::Open { until } => Some(until.saturating_duration_since(now)),
                Place::HalfOpen { .. } => Some(Duration::ZERO),
            },
            cause: self.cause,
            counts: self.window.counts(now),
            run: self.run,
            unauthorized: self.unauthorized,
            trips: self.trips,
        }
    }

    /// True where it is not closed.
    pub fn resume(&mut self, saved: &Saved, now: Instant) -> bool {
        self.place = saved.open_for.map_or(Place::Closed, |span| Place::Open { until: now + span });
        self.epoch += 1;
        (self.cause, self.since) = (saved.cause, now);
        (self.run, self.unauthorized, self.trips) = (saved.run, saved.unauthorized, saved.trips);
        self.window.clear();
        // As if it had all been just now: it counts for a window longer at most.
        self.window.add(now, saved.counts);
        self.phase_at(now) != Phase::Closed
    }
}
