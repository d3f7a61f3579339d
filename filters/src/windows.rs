//! How long something took, over the last one, five and fifteen minutes, to one part in a hundred.
//!
//! Each series has two rings: six slots of ten seconds, and fifteen of a minute. A slot keeps its first few values as
//! they are and becomes a sketch only beyond, since most series of most sidecars see a handful of calls a minute. The
//! sketch is `DDSketch` (C. Masson, J. E. Rim, H. K. Lee, VLDB 2019): its error is relative, so that it is as exact for
//! microseconds as for minutes, and two of them can be merged without making it worse.
//!
//! The slot that fills now counts too: a window covers between its span less one slot and its whole span.

mod counts;
mod ring;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sketches_ddsketch::{Config, DDSketch};
use tokio::time::Instant;

pub use counts::{Count, Counts, Sums, share};
pub use ring::Ring;

const SHORT: (Duration, usize) = (Duration::from_secs(10), 6);
const LONG: (Duration, usize) = (Duration::from_secs(60), 15);

/// Of a value; a quantile is no further off than this.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Bins of a sketch at most: nine decades. Beyond them the shortest times fall together.
const MOST_BINS: u32 = 1024;
/// Shorter times count as none.
const SHORTEST_SECONDS: f64 = 1e-6;
/// Longer times count as this, so that one broken clock does not spread a sketch over all its bins.
const LONGEST_SECONDS: f64 = 86_400.0;
/// Values that a slot keeps as they are.
const FEW: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Window {
    #[serde(rename = "1m")]
    One,
    #[serde(rename = "5m")]
    Five,
    #[serde(rename = "15m")]
    Fifteen,
}

impl Window {
    pub const ALL: [Window; 3] = [Window::One, Window::Five, Window::Fifteen];

    pub const fn name(self) -> &'static str {
        match self {
            Window::One => "1m",
            Window::Five => "5m",
            Window::Fifteen => "15m",
        }
    }

    pub const fn span(self) -> Duration {
        match self {
            Window::One => Duration::from_secs(60),
            Window::Five => Duration::from_secs(300),
            Window::Fifteen => Duration::from_secs(900),
        }
    }

    /// The slots that it reaches over, of the long ring if not of the short one.
    const fn slots(self) -> usize {
        match self {
            Window::One => SHORT.1,
            Window::Five => 5,
            Window::Fifteen => LONG.1,
        }
    }
}

/// What a window holds. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub per_second: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Summary {
    /// With times in milliseconds, as people read them.
    pub fn json(&self) -> Value {
        json!({
            "count": self.count, "per_second": round(self.per_second), "mean_ms": millis(self.mean),
            "p50_ms": millis(self.p50), "p90_ms": millis(self.p90), "p95_ms": millis(self.p95),
            "p99_ms": millis(self.p99), "max_ms": millis(self.max),
        })
    }
}

/// Seconds as milliseconds, to a microsecond.
pub fn millis(seconds: f64) -> f64 {
    round(seconds * 1000.0)
}

/// To three places: more would only be noise to read.
pub fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[derive(Clone, Default)]
enum Slot {
    #[default]
    Empty,
    Few(Vec<f32>),
    Many(Box<DDSketch>),
}

/// One series of durations.
#[derive(Clone)]
pub struct Windows {
    short: Ring<Slot>,
    long: Ring<Slot>,
}

impl Default for Windows {
    fn default() -> Self {
        Windows { short: Ring::new(SHORT.0, SHORT.1), long: Ring::new(LONG.0, LONG.1) }
    }
}

impl Windows {
    /// Of a series that has been listened to since then: its rates hold from then on, and not from its first value.
    pub fn since(begun: Instant) -> Self {
        Windows { short: Ring::since(begun, SHORT.0, SHORT.1), long: Ring::since(begun, LONG.0, LONG.1) }
    }

    /// What is no number is not heard.
    pub fn record(&mut self, now: Instant, seconds: f64) {
        if !seconds.is_finite() {
            return;
        }
        let seconds = seconds.clamp(0.0, LONGEST_SECONDS);
        self.short.slot(now).add(seconds);
        self.long.slot(now).add(seconds);
    }

    /// None where nothing was recorded.
    pub fn summary(&self, now: Instant, window: Window) -> Option<Summary> {
        let ring = if window == Window::One { &self.short } else { &self.long };
        let mut all = sketch();
        ring.last(now, window.slots()).for_each(|slot| slot.add_to(&mut all));
        let count = all.count() as u64;
        if count == 0 {
            return None;
        }
        let at = |quantile: f64| all.quantile(quantile).ok().flatten().unwrap_or(0.0);
        Some(Summary {
            count,
            per_second: count as f64 / ring.covered(now, window.slots()).as_secs_f64(),
            mean: all.sum().unwrap_or(0.0) / count as f64,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: all.max().unwrap_or(0.0),
        })
    }

    /// What it takes of memory, beside itself.
    pub fn bytes(&self) -> usize {
        let of = |slot: &Slot| match slot {
            Slot::Empty => 0,
            Slot::Few(values) => values.capacity() * size_of::<f32>(),
            // Bins are counted by `length`, eight bytes each.
            Slot::Many(sketch) => size_of::<DDSketch>() + sketch.length() * size_of::<u64>(),
        };
        let ring = |ring: &Ring<Slot>| ring.all().iter().map(|slot| size_of::<Slot>() + of(slot)).sum::<usize>();
        ring(&self.short) + ring(&self.long)
    }
}

fn sketch() -> DDSketch {
    DDSketch::new(Config::new(RELATIVE_ERROR, MOST_BINS, SHORTEST_SECONDS))
}

impl Slot {
    fn add(&mut self, seconds: f64) {
        match self {
            Slot::Empty => *self = Slot::Few(vec![seconds as f32]),
            Slot::Few(values) if values.len() < FEW => values.push(seconds as f32),
            Slot::Few(values) => {
                let mut many = sketch();
                values.iter().for_each(|value| many.add(f64::from(*value)));
                many.add(seconds);
                *self = Slot::Many(Box::new(many));
            }
            Slot::Many(sketch) => sketch.add(seconds),
        }
    }

    fn add_to(&self, all: &mut DDSketch) {
        match self {
            Slot::Empty => {}
            Slot::Few(values) => values.iter().for_each(|value| all.add(f64::from(*value))),
            // All sketches are made alike, so this cannot fail.
            Slot::Many(sketch) => all.merge(sketch).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
