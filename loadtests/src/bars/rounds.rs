//! What the rounds have shown: values by metric and target, their medians, and ratios taken round by round.

use clap::Args;

use super::report::Row;
use crate::wire::target::{Target, place};

/// Of a scenario in which targets take turns.
#[derive(Debug, Args)]
pub struct Compared {
    /// NAME=URL[,PID]; repeat it.
    #[arg(long = "target", required = true)]
    pub targets: Vec<Target>,
    /// The target that ratios refer to, and that what the others add is added to.
    #[arg(long)]
    pub base: Option<String>,
}

pub struct Rounds {
    targets: Vec<String>,
    base: Option<usize>,
    /// In the order in which the metrics were first recorded.
    metrics: Vec<Metric>,
}

struct Metric {
    name: String,
    /// By target, then by round.
    values: Vec<Vec<f64>>,
}

impl Rounds {
    /// A base that is no target is an error.
    pub fn new(targets: &[Target], base: Option<&str>) -> anyhow::Result<Rounds> {
        let base = base.map(|name| place(targets, name)).transpose()?;
        let targets = targets.iter().map(|target| target.name.clone()).collect();
        Ok(Rounds { targets, base, metrics: Vec::new() })
    }

    pub fn base(&self) -> Option<usize> {
        self.base
    }

    /// Books this round's value. A target either has a metric in every round or in none.
    pub fn record(&mut self, metric: &str, target: usize, value: f64) {
        let place = self.metrics.iter().position(|known| known.name == metric).unwrap_or_else(|| {
            self.metrics.push(Metric { name: metric.to_owned(), values: vec![Vec::new(); self.targets.len()] });
            self.metrics.len() - 1
        });
        self.metrics[place].values[target].push(value);
    }

    /// Books what each target adds to the base in this round, under a name of its own for each metric.
    pub fn record_added(&mut self, metrics: [&str; 2], added: [&str; 2]) {
        let Some(base) = self.base else { return };
        for (metric, added) in metrics.into_iter().zip(added) {
            let Some(least) = self.last(metric, base) else { continue };
            for target in (0..self.targets.len()).filter(|target| *target != base) {
                if let Some(value) = self.last(metric, target) {
                    self.record(added, target, value - least);
                }
            }
        }
    }

    pub fn median(&self, metric: &str, target: usize) -> Option<f64> {
        median(self.values(metric, target)?)
    }

    /// The latest round's value.
    fn last(&self, metric: &str, target: usize) -> Option<f64> {
        self.values(metric, target)?.last().copied()
    }

    /// The median over the rounds of the target's value by the other's.
    pub fn ratio(&self, metric: &str, target: usize, other: usize) -> Option<f64> {
        let (values, others) = (self.values(metric, target)?, self.values(metric, other)?);
        let ratios: Vec<f64> =
            values.iter().zip(others).map(|(value, other)| value / other).filter(|ratio| ratio.is_finite()).collect();
        median(&ratios)
    }

    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for metric in &self.metrics {
            for (place, target) in self.targets.iter().enumerate() {
                let values = &metric.values[place];
                let Some(median) = median(values) else { continue };
                rows.push(Row {
                    metric: metric.name.clone(),
                    target: target.clone(),
                    median,
                    min: values.iter().copied().fold(f64::INFINITY, f64::min),
                    max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    ratio: self.base.and_then(|base| self.ratio(&metric.name, place, base)),
                    rounds: values.clone(),
                });
            }
        }
        rows
    }

    fn values(&self, metric: &str, target: usize) -> Option<&[f64]> {
        let metric = self.metrics.iter().find(|known| known.name == metric)?;
        metric.values.get(target).map(Vec::as_slice)
    }
}

/// The targets of a round: everyone once, beginning with another one each time.
pub fn order(round: usize, targets: usize) -> impl Iterator<Item = usize> {
    (0..targets).map(move |place| (place + round) % targets)
}

/// The middle value; between the two middle ones where there is no middle one.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds() -> Rounds {
        let targets = ["a=http://127.0.0.1:1", "b=http://127.0.0.1:2"].map(|text| text.parse().unwrap());
        Rounds::new(&targets, Some("a")).unwrap()
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5), "between the two middle ones");
        assert_eq!(median(&[]), None, "of nothing there is none");
    }

    #[test]
    fn ratios_are_taken_within_each_round() {
        let mut rounds = rounds();
        // The machine slows down tenfold in the second round; the ratio of the two stays.
        for (first, second) in [(1.0, 2.0), (10.0, 20.0), (2.0, 6.0)] {
            rounds.record("cost", 0, first);
            rounds.record("cost", 1, second);
        }
        assert_eq!(rounds.ratio("cost", 1, 0), Some(2.0), "the median of 2, 2 and 3");
        assert_eq!(rounds.rows()[1].ratio, Some(2.0), "to the base");
        assert_eq!(rounds.ratio("other", 1, 0), None, "an unknown metric has no ratio");
    }

    #[test]
    fn a_division_by_zero_is_no_ratio() {
        let mut rounds = rounds();
        rounds.record("added", 0, 0.0);
        rounds.record("added", 1, 5.0);
        assert_eq!(rounds.ratio("added", 1, 0), None);
    }

    #[test]
    fn the_order_rotates() {
        assert_eq!(order(0, 3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(order(4, 3).collect::<Vec<_>>(), [1, 2, 0], "everyone once, another one first");
    }
}
