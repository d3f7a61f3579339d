//! Whether a run is better than another, the same, or worse, and where.
//!
//! A change is only told where three things hold. The test of Mann and Whitney finds it at a level that is divided by
//! the number of metrics judged (Bonferroni), so that looking at many does not make false alarms; the interval of the
//! ratio leaves out 1; and the ratio is beyond a minimum effect, since what is certain need not matter.
//!
//! Both know that the requests of one second are alike: errors come from a bootstrap over blocks of slices, and where
//! that finds values to say less than independent ones would, the test is told so (the design effect).

mod command;
mod evidence;
mod figure;
mod judge;
mod latency;
mod rates;
mod text;
mod timeline;
mod usable;
mod words;

pub use command::{Args, Judging};
pub use figure::{Figure, Quantile};
pub use judge::{Severity, Verdict};

use std::collections::HashSet;

use serde::Serialize;

use self::judge::Rules;
use super::result::Run;
use crate::stats::estimate::Interval;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Options {
    /// The least relative change that is told: 0.015 is 1.5 %.
    pub min_effect: f64,
    /// Of the intervals.
    pub confidence: f64,
    /// How probable one false alarm or more may be, over all figures.
    pub alpha: f64,
    /// Resamples of the bootstrap.
    pub replicates: u32,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { min_effect: 0.015, confidence: 0.99, alpha: 0.005, replicates: 1000, seed: 0 }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub verdict: Verdict,
    /// The gravest of all figures.
    pub severity: Option<Severity>,
    pub before: Side,
    pub after: Side,
    /// Why the figures are not to be believed; a comparison with any is neither stable nor improving.
    pub invalid: Vec<String>,
    /// What the two runs do not have in common.
    pub mismatches: Vec<String>,
    /// In words: where it became slower, quicker, or worse.
    pub findings: Vec<String>,
    pub rows: Vec<Row>,
    /// What a figure's p is held against: the options' alpha by the number of metrics judged, of which the quantiles are one.
    pub alpha_each: f64,
    pub options: Options,
}

/// Which run.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    pub name: String,
    pub label: Option<String>,
    pub target: String,
    pub started_at: String,
    pub machine: String,
    pub sent: u64,
}

/// One figure of both runs: latencies in milliseconds, rates a second, CPU in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub figure: Figure,
    pub before: f64,
    pub after: f64,
    pub ratio: Option<Interval>,
    pub p_value: Option<f64>,
    /// Cliff's delta, of latencies; what lies below the part that is ranked counts as tied.
    pub delta: Option<f64>,
    /// None where there was too little to judge.
    pub verdict: Option<Verdict>,
    pub severity: Option<Severity>,
}

impl Comparison {
    /// The greatest factor by which a figure is certainly worse; none where none is.
    pub fn worst(&self) -> Option<f64> {
        let worse = self.rows.iter().filter(|row| row.verdict == Some(Verdict::Degrading));
        worse.filter_map(Row::worsening).max_by(f64::total_cmp)
    }
}

impl Row {
    /// Above 1 where it is worse.
    pub fn worsening(&self) -> Option<f64> {
        let ratio = self.ratio?.ratio;
        Some(if self.figure.less_is_better() { ratio } else { 1.0 / ratio })
    }
}

/// An error only where a histogram cannot be read.
pub fn compare(before: &Run, after: &Run, options: &Options) -> anyhow::Result<Comparison> {
    let mut evidence = latency::evidence(before, after, options)?;
    evidence.extend(rates::evidence(before, after, options));
    let judged: HashSet<_> =
        evidence.iter().filter(|one| one.p_value.is_some()).map(|one| one.figure.metric()).collect();
    let rules = Rules { alpha: options.alpha / judged.len().max(1) as f64, min_effect: options.min_effect };
    let rows: Vec<Row> = evidence.into_iter().map(|evidence| rules.row(evidence)).collect();
    let mut invalid = usable::reasons(before, after);
    if judged.is_empty() {
        invalid.push("there is too little in common to judge anything by; make the runs longer".to_owned());
    }
    Ok(Comparison {
        verdict: judge::overall(&rows, &invalid),
        severity: rows.iter().filter_map(|row| row.severity).max(),
        before: Side::of(before),
        after: Side::of(after),
        mismatches: usable::mismatches(before, after),
        findings: words::findings(&rows, before, after),
        invalid,
        rows,
        alpha_each: rules.alpha,
        options: *options,
    })
}

impl Side {
    fn of(run: &Run) -> Side {
        Side {
            name: run.name.clone(),
            label: run.label.clone(),
            target: run.target.clone(),
            started_at: run.started_at.clone(),
            machine: run.machine.class.clone(),
            sent: run.counts.sent,
        }
    }
}

#[cfg(test)]
mod tests;
