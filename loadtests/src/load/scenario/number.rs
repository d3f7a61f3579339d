//! Numbers that a scenario may say: finite, of the right sign, and small enough to be a time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// Nothing that a scenario counts comes near: thirty years in seconds, a thousand million requests a second.
const MOST: f64 = 1e9;

/// Above nothing.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Positive(f64);

/// Nothing, or above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Amount(f64);

impl Positive {
    pub const ONE: Positive = Positive(1.0);

    pub fn get(self) -> f64 {
        self.0
    }

    /// As a number of seconds.
    pub fn seconds(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }

    /// So many times as much; what would be out of range stops at its end.
    pub fn scaled(self, factor: f64) -> Positive {
        Positive((self.0 * factor).clamp(f64::MIN_POSITIVE, MOST))
    }
}

impl Amount {
    pub fn get(self) -> f64 {
        self.0
    }

    pub fn seconds(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }

    pub fn scaled(self, factor: f64) -> Amount {
        Amount((self.0 * factor).clamp(0.0, MOST))
    }
}

impl TryFrom<f64> for Positive {
    type Error = String;

    fn try_from(value: f64) -> Result<Positive, String> {
        if value > 0.0 && value <= MOST {
            Ok(Positive(value))
        } else {
            Err(format!("{value} is not a number above 0 and at most {MOST}"))
        }
    }
}

impl TryFrom<f64> for Amount {
    type Error = String;

    fn try_from(value: f64) -> Result<Amount, String> {
        if (0.0..=MOST).contains(&value) {
            Ok(Amount(value))
        } else {
            Err(format!("{value} is not a number from 0 to {MOST}"))
        }
    }
}

impl From<Positive> for f64 {
    fn from(value: Positive) -> f64 {
        value.0
    }
}

impl From<Amount> for f64 {
    fn from(value: Amount) -> f64 {
        value.0
    }
}

impl From<Positive> for Amount {
    fn from(value: Positive) -> Amount {
        Amount(value.0)
    }
}

impl FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Positive, String> {
        text.parse::<f64>().map_err(|error| error.to_string())?.try_into()
    }
}

impl fmt::Display for Positive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// For a field that stays an `f64`.
pub fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Positive::deserialize(deserializer).map(Positive::get)
}

/// For a field that stays an `f64`.
pub fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Amount::deserialize(deserializer).map(Amount::get)
}

#[cfg(test)]
mod tests {
    use super::{Amount, Positive};

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
            assert!(Positive::try_from(wrong).is_err(), "{wrong} is not positive");
        }
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(Amount::try_from(wrong).is_err(), "{wrong} is no amount");
        }
        assert_eq!(Amount::try_from(0.0).unwrap().get(), 0.0, "nothing is an amount");
        assert_eq!("2.5".parse::<Positive>().unwrap().get(), 2.5);
    }

    #[test]
    fn scaling_stays_in_range() {
        assert_eq!(Positive::ONE.scaled(2.0).get(), 2.0);
        assert!(Positive::ONE.scaled(1e300).seconds().as_secs() > 0, "a time that can be counted");
        assert!(Positive::ONE.scaled(0.0).get() > 0.0, "still above nothing");
    }
}
