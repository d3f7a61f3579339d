//! Service levels: what a run must hold, as in `p95_ttft_ms <= 500`.

mod measure;
mod recovery;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use measure::{Measure, Statistic};

use super::result::{LevelVerdict, Metric, Run};

/// A measure, a bound, and a limit; kept as it was written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Level {
    text: String,
    measure: Measure,
    bound: Bound,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    AtMost,
    Below,
    AtLeast,
    Above,
}

impl Level {
    pub fn measure(&self) -> Measure {
        self.measure
    }

    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// What cannot be measured is missed.
    pub fn judge(&self, run: &Run) -> LevelVerdict {
        let value = self.measure.of(run).filter(|value| value.is_finite());
        LevelVerdict { level: self.text.clone(), value, met: value.is_some_and(|value| self.holds(value)) }
    }

    pub fn holds(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost => value <= self.limit,
            Bound::Below => value < self.limit,
            Bound::AtLeast => value >= self.limit,
            Bound::Above => value > self.limit,
        }
    }

    /// For goodput: the metric and the milliseconds that a request must keep to be a good one. Every upper limit on a
    /// latency applies to each request, whichever statistic it is on; the load tester's own lateness is no one's.
    pub fn per_request(&self) -> Option<(Metric, f64)> {
        match (self.measure, self.bound) {
            (Measure::Latency(Statistic::Stdev, _) | Measure::Latency(_, Metric::ScheduleLag), _) => None,
            (Measure::Latency(_, metric), Bound::AtMost | Bound::Below) => Some((metric, self.limit)),
            _ => None,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        let wrong = || format!("{text:?} is no service level: it reads like `p95_ttft_ms <= 500`");
        let (place, symbol, bound) =
            [("<=", Bound::AtMost), (">=", Bound::AtLeast), ("<", Bound::Below), (">", Bound::Above)]
                .into_iter()
                .find_map(|(symbol, bound)| text.find(symbol).map(|place| (place, symbol, bound)))
                .ok_or_else(wrong)?;
        let (name, limit) = (text[..place].trim(), text[place + symbol.len()..].trim());
        let measure = name.parse()?;
        let limit: f64 = limit.parse().map_err(|_| format!("{}: {limit:?} is no number", wrong()))?;
        if !limit.is_finite() || limit < 0.0 && !measure_may_fall(measure) {
            return Err(format!("{}: {limit} is no limit", wrong()));
        }
        Ok(Level { text: text.trim().to_owned(), measure, bound, limit })
    }
}

/// Whether it may be below 0: a slope.
fn measure_may_fall(measure: Measure) -> bool {
    matches!(measure, Measure::ResidentMibPerHour | Measure::FilesPerHour)
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(text: String) -> Result<Level, String> {
        text.parse()
    }
}

impl From<Level> for String {
    fn from(level: Level) -> String {
        level.text
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
