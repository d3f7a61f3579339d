//! Scaling: how many of us and of the model servers there are, when that changed, and how long a pressure lasted.
//!
//! Two machines that look at a moment's numbers, each an enum. A [`Count`] takes a number for true once it has stood for
//! [`STANDS`], so that a rollout is one change and a sidecar that is late with its sign of life is none. [`Pressure`] is
//! there while requests wait for room or are refused for want of it: it is called so after [`MOMENT`], and gone after
//! [`CALM`] without any. What it lasted is the time to relief, and whether somebody was added meanwhile is told with it:
//! a scaler that adds replicas when the rush is over anyhow shows here.

mod count;
mod meters;
mod pressure;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

pub use count::{PATIENCE, STANDS};
pub use meters::Meters;
pub use pressure::{CALM, MOMENT};

use count::{Count, Moved};
use pressure::Pressure;

/// How often the numbers are to be looked at.
pub const EVERY: Duration = Duration::from_millis(500);

/// What is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Ourselves: sidecars and gateways on one Redis.
    Outrigger,
    /// The model servers.
    Backend,
}

impl Of {
    pub const ALL: [Of; 2] = [Of::Outrigger, Of::Backend];

    pub const fn name(self) -> &'static str {
        match self {
            Of::Outrigger => "outrigger",
            Of::Backend => "backend",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    pub const ALL: [Direction; 2] = [Direction::Up, Direction::Down];

    pub const fn name(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// Who was added while a pressure lasted: a model server where both were, since it is what relieves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaled {
    #[default]
    Nothing,
    Outrigger,
    Backend,
}

impl Scaled {
    pub const ALL: [Scaled; 3] = [Scaled::Nothing, Scaled::Outrigger, Scaled::Backend];

    pub const fn name(self) -> &'static str {
        match self {
            Scaled::Nothing => "nothing",
            Scaled::Outrigger => "outrigger",
            Scaled::Backend => "backend",
        }
    }

    const fn with(of: Of) -> Self {
        match of {
            Of::Outrigger => Scaled::Outrigger,
            Of::Backend => Scaled::Backend,
        }
    }
}

/// What is seen at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// None where it cannot be known now: it stands as it was.
    pub outriggers: Option<u32>,
    pub backends: Option<u32>,
    /// Requests that wait for room.
    pub held: u64,
    /// Requests that were refused since the start because there was too much to do.
    pub refused: u64,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    Replicas {
        of: Of,
        direction: Direction,
        from: u32,
        to: u32,
    },
    /// Requests have been waiting or refused for a while.
    Pressure {
        held: u64,
    },
    /// They are not any more.
    Relief {
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
        scaled: Scaled,
    },
}

#[derive(Debug, Default)]
pub struct Scaling {
    outriggers: Count,
    backends: Count,
    pressure: Pressure,
    /// What had been refused when it was last looked at; none before the first look.
    refused: Option<u64>,
}

impl Scaling {
    /// Looks at a moment's numbers; every [`EVERY`] or so.
    pub fn look(&mut self, now: Instant, seen: Seen) -> Vec<Change> {
        let moved = [
            (Of::Outrigger, self.outriggers.look(now, seen.outriggers)),
            (Of::Backend, self.backends.look(now, seen.backends)),
        ];
        let moved = moved.into_iter().filter_map(|(of, moved)| Some((of, moved?))).collect::<Vec<_>>();
        for (of, moved) in moved.iter().filter(|(_, moved)| moved.direction() == Direction::Up) {
            self.pressure.scaled(Scaled::with(*of), moved.begun);
        }
        let refused = self.refused.replace(seen.refused).is_some_and(|before| seen.refused > before);
        let told = self.pressure.look(now, seen.held > 0 || refused);
        let told = told.map(|told| match told {
            pressure::Told::Begun => Change::Pressure { held: seen.held },
            pressure::Told::Over { after, scaled } => Change::Relief { after, scaled },
        });
        let replicas = |(of, moved): (Of, Moved)| {
            let (direction, Moved { from, to, .. }) = (moved.direction(), moved);
            Change::Replicas { of, direction, from, to }
        };
        moved.into_iter().map(replicas).chain(told).collect()
    }

    /// How many there are, as far as it is settled.
    pub fn replicas(&self, of: Of) -> Option<u32> {
        match of {
            Of::Outrigger => self.outriggers.settled(),
            Of::Backend => self.backends.settled(),
        }
    }

    /// Whether requests have been waiting or refused for a while, and not stopped for a while.
    pub fn is_pressed(&self) -> bool {
        self.pressure.is_on()
    }

    /// How it stands, for people.
    pub fn report(&self, now: Instant) -> Value {
        json!({
            "replicas": { "outrigger": self.replicas(Of::Outrigger), "backend": self.replicas(Of::Backend) },
            "pressure": self.pressure.report(now),
        })
    }
}

fn millis<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
