//! A bar as the command line names it.

use std::str::FromStr;

use anyhow::Context;

use super::report::Bar;
use super::rounds::Rounds;
use crate::wire::target::{Target, place};

/// `NAME=VALUE`, or `NAME/OTHER=VALUE` for a ratio of two targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    target: String,
    other: Option<String>,
    pub value: f64,
}

impl FromStr for Limit {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Limit> {
        let (names, value) = text.split_once('=').context("a bar reads NAME=VALUE or NAME/OTHER=VALUE")?;
        let value = value.parse().context("the bar's value is no number")?;
        let (target, other) = match names.split_once('/') {
            Some((target, other)) => (target, Some(other.to_owned())),
            None => (names, None),
        };
        Ok(Limit { target: target.to_owned(), other, value })
    }
}

impl Limit {
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The median ratio of this metric, to the named other target or else to the base.
    fn ratio(&self, rounds: &Rounds, metric: &str, targets: &[Target]) -> anyhow::Result<(String, Option<f64>)> {
        let target = place(targets, &self.target)?;
        let other = match &self.other {
            Some(other) => place(targets, other)?,
            None => rounds.base().context("a ratio needs --base, or NAME/OTHER=VALUE")?,
        };
        let text = format!("{metric}: {} of {}", self.target, targets[other].name);
        Ok((text, rounds.ratio(metric, target, other)))
    }

    pub fn ratio_at_most(&self, rounds: &Rounds, metric: &str, targets: &[Target]) -> anyhow::Result<Bar> {
        let (text, ratio) = self.ratio(rounds, metric, targets)?;
        Ok(Bar::at_most(text, ratio, self.value))
    }

    pub fn ratio_at_least(&self, rounds: &Rounds, metric: &str, targets: &[Target]) -> anyhow::Result<Bar> {
        let (text, ratio) = self.ratio(rounds, metric, targets)?;
        Ok(Bar::at_least(text, ratio, self.value))
    }

    /// Holds the metric's own median.
    pub fn at_most(&self, rounds: &Rounds, metric: &str, targets: &[Target]) -> anyhow::Result<Bar> {
        let median = rounds.median(metric, place(targets, &self.target)?);
        Ok(Bar::at_most(format!("{metric}: {}", self.target), median, self.value))
    }

    pub fn at_least(&self, rounds: &Rounds, metric: &str, targets: &[Target]) -> anyhow::Result<Bar> {
        let median = rounds.median(metric, place(targets, &self.target)?);
        Ok(Bar::at_least(format!("{metric}: {}", self.target), median, self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_read() {
        let limit: Limit = "outrigger/bare=1.2".parse().unwrap();
        assert_eq!(limit, Limit { target: "outrigger".to_owned(), other: Some("bare".to_owned()), value: 1.2 });
        assert_eq!("outrigger=30".parse::<Limit>().unwrap().other, None, "one target alone");
        assert!("outrigger".parse::<Limit>().is_err() && "outrigger=x".parse::<Limit>().is_err(), "needs a number");
    }
}
