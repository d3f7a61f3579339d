//! A history of runs: each figure as a series, one value a run, and where it changed.

mod command;
mod read;

use serde::Serialize;

pub use command::Args;
pub use read::read;

use super::compare::{Figure, Quantile};
use super::result::{Metric, Run};
use crate::stats::change_points::{ChangePoint, Options, find};

/// One figure over the runs, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub values: Vec<f64>,
    /// What each value is of; as many as there are values.
    pub runs: Vec<String>,
    /// None where it is not known what the numbers are.
    pub less_is_better: Option<bool>,
}

/// The changes of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    pub name: String,
    pub runs: usize,
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The first run of the new level.
    pub run: String,
    #[serde(flatten)]
    pub point: ChangePoint,
    /// None where it is not known what the numbers are.
    pub worse: Option<bool>,
}

/// What a history is made of, in the order in which it is told.
const METRICS: [Metric; 4] = [Metric::EndToEnd, Metric::Ttft, Metric::InterToken, Metric::Tpot];

impl Series {
    pub fn changes(&self, options: Options) -> Changes {
        let changes = find(&self.values, options).into_iter().map(|point| {
            let more = point.after > point.before;
            let run = self.runs.get(point.index).cloned().unwrap_or_else(|| point.index.to_string());
            Change { run, point, worse: self.less_is_better.map(|less_is_better| less_is_better == more) }
        });
        Changes { name: self.name.clone(), runs: self.values.len(), changes: changes.collect() }
    }
}

/// The figures of runs, given with what each is called. Runs of several scenarios, targets' labels or classes of machine
/// make series of their own: a change from one to the other is none.
pub fn series(runs: &[(String, Run)]) -> Vec<Series> {
    let mut groups: Vec<String> = runs.iter().map(|(_, run)| group(run)).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut all = Vec::new();
    for known in groups {
        let members: Vec<&(String, Run)> = runs.iter().filter(|(_, run)| group(run) == known).collect();
        all.extend(figures().filter_map(|figure| of_figure(&known, figure, &members)));
    }
    all
}

fn group(run: &Run) -> String {
    let label = run.label.as_ref().map_or(String::new(), |label| format!(" {label}"));
    format!("{}{label} on {}", run.name, run.machine.class)
}

fn figures() -> impl Iterator<Item = Figure> {
    let latencies =
        METRICS.into_iter().flat_map(|metric| Quantile::ALL.map(|quantile| Figure::Latency(metric, quantile)));
    latencies.chain([Figure::Requests, Figure::Goodput, Figure::OutputTokens, Figure::ErrorRate, Figure::CpuPerRequest])
}

/// None where no run has it. Runs without it are left out.
fn of_figure(group: &str, figure: Figure, runs: &[&(String, Run)]) -> Option<Series> {
    let found: Vec<(&String, f64)> = runs.iter().filter_map(|(name, run)| Some((name, value(figure, run)?))).collect();
    (!found.is_empty()).then(|| Series {
        name: format!("{group}: {figure}"),
        values: found.iter().map(|(_, value)| *value).collect(),
        runs: found.iter().map(|(name, _)| (*name).clone()).collect(),
        less_is_better: Some(figure.less_is_better()),
    })
}

fn value(figure: Figure, run: &Run) -> Option<f64> {
    let ended = run.counts.answered + run.counts.failed;
    match figure {
        Figure::Latency(metric, quantile) => {
            let distribution = run.latencies.get(&metric).filter(|distribution| distribution.count > 0)?;
            Some(match quantile {
                Quantile::P50 => distribution.p50,
                Quantile::P95 => distribution.p95,
                Quantile::P99 => distribution.p99,
            })
        }
        Figure::Requests => Some(run.rates.requests),
        Figure::Goodput => Some(run.rates.goodput),
        Figure::OutputTokens => (run.counts.output_tokens > 0).then_some(run.rates.output_tokens),
        Figure::ErrorRate => (ended > 0).then(|| run.counts.failed as f64 / ended as f64),
        Figure::CpuPerRequest => Some(run.process.as_ref()?.cpu_microseconds_per_request),
    }
}

#[cfg(test)]
mod tests;
