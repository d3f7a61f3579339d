//! A delay in milliseconds, fractions allowed, that can be neither negative, endless, nor not a number.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A day: whoever wants longer wants the fault `stall_before`.
const LONGEST: f64 = 86_400_000.0;

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Milliseconds(Duration);

impl Milliseconds {
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<f64> for Milliseconds {
    type Error = String;

    fn try_from(value: f64) -> Result<Milliseconds, String> {
        if (0.0..=LONGEST).contains(&value) {
            Ok(Milliseconds(Duration::from_secs_f64(value / 1000.0)))
        } else {
            Err(format!("{value} is not a delay in milliseconds between 0 and {LONGEST}"))
        }
    }
}

impl From<Milliseconds> for f64 {
    fn from(value: Milliseconds) -> f64 {
        value.0.as_secs_f64() * 1000.0
    }
}

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Milliseconds, String> {
        text.parse::<f64>().map_err(|error| error.to_string())?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::Milliseconds;

    #[test]
    fn a_delay_is_finite_and_not_negative() {
        assert_eq!("0.5".parse::<Milliseconds>().unwrap().duration().as_micros(), 500, "fractions count");
        for wrong in ["-1", "NaN", "inf", "1e12", "soon"] {
            assert!(wrong.parse::<Milliseconds>().is_err(), "{wrong} is no delay");
        }
    }
}
