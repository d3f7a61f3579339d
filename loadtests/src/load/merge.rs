//! One run of several: what was measured in turns, or by several load testers at once, taken together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use hdrhistogram::Histogram;

use super::ending::Ending;
use super::files;
use super::result::{Counts, Distribution, Integrity, Metric, Rates, Run};

/// Adds results up, without loss: histograms, counts, and the timelines one after another.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The results, of one scenario.
    #[arg(required = true, num_args = 2..)]
    pub results: Vec<PathBuf>,
    /// Where the sum is written.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Args {
    pub fn run(&self) -> anyhow::Result<Ending> {
        let runs: Vec<Run> = self.results.iter().map(|path| files::read_run(path)).collect::<anyhow::Result<_>>()?;
        let merged = merge(&runs)?;
        files::write(&self.output, &serde_json::to_string_pretty(&merged)?)?;
        Ok(Ending::Fine)
    }
}

/// The runs, one after another: seconds are summed, and each begins where the one before it ended. The first says what
/// they are runs of; all must be of one scenario and one class of machine. Levels are not carried over, since a level of
/// a sum is another figure, nor are a process's, since each run may have had its own; the slices' are.
pub fn merge(runs: &[Run]) -> anyhow::Result<Run> {
    let first = runs.first().context("there is nothing to merge")?;
    for run in runs {
        let (ours, theirs) = (&first.machine.class, &run.machine.class);
        anyhow::ensure!(run.name == first.name, "scenario: {} and {} cannot be merged", first.name, run.name);
        anyhow::ensure!(ours == theirs, "machine: runs of {ours} and {theirs} cannot be merged");
    }
    let counts = runs.iter().fold(Counts::default(), |sum, run| added(&sum, &run.counts));
    let measured_seconds = runs.iter().map(|run| run.measured_seconds).sum();
    let (slices, marks) = timelines(runs);
    Ok(Run {
        planned_seconds: runs.iter().map(|run| run.planned_seconds).sum(),
        measured_seconds,
        cut_short: runs.iter().find_map(|run| run.cut_short.clone()),
        invalid: runs.iter().flat_map(|run| run.invalid.iter().cloned()).collect(),
        rates: rates(runs, measured_seconds),
        counts,
        latencies: latencies(runs)?,
        errors: errors(runs),
        integrity: runs.iter().fold(Integrity::default(), |sum, run| together(&sum, &run.integrity)),
        process: None,
        slices,
        marks,
        levels: Vec::new(),
        ..first.clone()
    })
}

fn added(one: &Counts, other: &Counts) -> Counts {
    Counts {
        sent: one.sent + other.sent,
        answered: one.answered + other.answered,
        failed: one.failed + other.failed,
        good: one.good + other.good,
        streams: one.streams + other.streams,
        input_tokens: one.input_tokens + other.input_tokens,
        output_tokens: one.output_tokens + other.output_tokens,
        body_bytes_received: one.body_bytes_received + other.body_bytes_received,
        stream_bytes_received: one.stream_bytes_received + other.stream_bytes_received,
        most_in_flight: one.most_in_flight.max(other.most_in_flight),
    }
}

fn together(one: &Integrity, other: &Integrity) -> Integrity {
    Integrity {
        checked: one.checked + other.checked,
        whole: one.whole + other.whole,
        lost: one.lost + other.lost,
        repeated: one.repeated + other.repeated,
        reordered: one.reordered + other.reordered,
        truncated: one.truncated + other.truncated,
        crossed: one.crossed + other.crossed,
        hash_mismatch: one.hash_mismatch + other.hash_mismatch,
        error_event: one.error_event + other.error_event,
        malformed: one.malformed + other.malformed,
    }
}

/// Each run counts by its time.
fn rates(runs: &[Run], seconds: f64) -> Rates {
    let mean = |rate: fn(&Rates) -> f64| {
        let sum: f64 = runs.iter().map(|run| rate(&run.rates) * run.measured_seconds).sum();
        if seconds > 0.0 { sum / seconds } else { 0.0 }
    };
    Rates {
        requests: mean(|rates| rates.requests),
        goodput: mean(|rates| rates.goodput),
        output_tokens: mean(|rates| rates.output_tokens),
        stream_bytes: mean(|rates| rates.stream_bytes),
    }
}

fn errors(runs: &[Run]) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, count) in runs.iter().flat_map(|run| &run.errors) {
        *errors.entry(kind.clone()).or_default() += count;
    }
    errors
}

fn latencies(runs: &[Run]) -> anyhow::Result<BTreeMap<Metric, Distribution>> {
    let mut histograms: BTreeMap<Metric, Histogram<u64>> = BTreeMap::new();
    for (metric, distribution) in runs.iter().flat_map(|run| &run.latencies) {
        let histogram = distribution.histogram()?;
        match histograms.get_mut(metric) {
            Some(sum) => sum.add(histogram)?,
            None => drop(histograms.insert(*metric, histogram)),
        }
    }
    histograms.iter().map(|(metric, histogram)| Ok((*metric, Distribution::of(histogram)?))).collect()
}

fn timelines(runs: &[Run]) -> (Vec<super::result::Slice>, Vec<super::result::Mark>) {
    let (mut slices, mut marks) = (Vec::new(), Vec::new());
    let mut begin = 0.0;
    for run in runs {
        slices.extend(
            run.slices
                .iter()
                .cloned()
                .map(|slice| super::result::Slice { at_seconds: begin + slice.at_seconds, ..slice }),
        );
        marks.extend(
            run.marks.iter().cloned().map(|mark| super::result::Mark { at_seconds: begin + mark.at_seconds, ..mark }),
        );
        begin += run.slices.last().map_or(run.measured_seconds, |last| last.at_seconds + last.seconds);
    }
    (slices, marks)
}

#[cfg(test)]
mod tests;
