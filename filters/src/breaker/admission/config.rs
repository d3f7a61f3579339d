//! The settings of one backend's admission; each field's comment is its manual.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How admission to one backend is set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the limit follows the backend's time to the first token. If not, `initial_limit` stands.
    pub adaptive: bool,
    /// Requests in flight at the start. High, because a backend that is not known yet must not be held back; it
    /// comes down within seconds where the backend shows that it is too high.
    pub initial_limit: NonZeroU32,
    /// The limit never falls below this many requests. So few at once count as no load: what the backend takes then
    /// is what it always takes, and is learned as such.
    pub min_limit: NonZeroU32,
    /// Requests in flight at most, whatever is learned, and also where the limit counts tokens.
    pub max_limit: NonZeroU32,
    /// Requests that may wait for room. 0 refuses whatever does not fit at once.
    pub queue: usize,
    /// How long a request may wait for room. Who is expected to wait longer is refused on arrival.
    pub queue_timeout_ms: u64,
    /// How many times its time without load the first token may take before the backend counts as congested.
    pub tolerance: Tolerance,
    /// On top of that, the milliseconds it may take in any case: a fast backend on a noisy machine is not congested.
    pub slack_ms: u64,
    /// How long answers are gathered before the limit moves, in milliseconds.
    pub window_ms: NonZeroU64,
    /// How soon old knowledge fades: in this time of contrary evidence the time without load at most doubles, and a
    /// limit that nobody comes near doubles towards `initial_limit`.
    pub relearn_secs: NonZeroU64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            adaptive: true,
            initial_limit: const { NonZeroU32::new(1000).unwrap() },
            min_limit: const { NonZeroU32::new(4).unwrap() },
            max_limit: const { NonZeroU32::new(1000).unwrap() },
            queue: 256,
            queue_timeout_ms: 1000,
            tolerance: Tolerance(1.5),
            slack_ms: 100,
            window_ms: const { NonZeroU64::new(100).unwrap() },
            relearn_secs: const { NonZeroU64::new(1800).unwrap() },
        }
    }
}

impl Config {
    pub(super) const fn queue_timeout(&self) -> Duration {
        Duration::from_millis(self.queue_timeout_ms)
    }
}

/// A factor of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Tolerance(f64);

impl Tolerance {
    pub const fn factor(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Tolerance {
    type Error = String;

    fn try_from(factor: f64) -> Result<Tolerance, String> {
        if factor.is_finite() && factor >= 1.0 {
            Ok(Tolerance(factor))
        } else {
            Err(format!("{factor} is no factor of at least 1"))
        }
    }
}

impl From<Tolerance> for f64 {
    fn from(tolerance: Tolerance) -> f64 {
        tolerance.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_cannot_be_said() {
        let read = serde_json::from_str::<Config>;
        assert_eq!(read("{}").unwrap(), Config::default(), "everything has a default");
        for wrong in [r#"{"tolerance":0.9}"#, r#"{"min_limit":0}"#, r#"{"window_ms":0}"#, r#"{"limit":4}"#] {
            assert!(read(wrong).is_err(), "{wrong} is refused");
        }
    }
}
