//! The evidence on what is counted over time: rates, errors, and CPU.

use super::Options;
use super::evidence::Evidence;
use super::figure::Figure;
use crate::load::result::{Run, Slice};
use crate::stats::blocks::Blocks;
use crate::stats::estimate::{Estimate, ratio, t_test};

/// What is added to a count, so that none has a logarithm too and the ratio to none is finite (Haldane 1956).
const HALF: f64 = 0.5;

/// Where the error is known from a model and was not found from the data.
const KNOWN: f64 = 1e9;

pub fn evidence(before: &Run, after: &Run, options: &Options) -> Vec<Evidence> {
    let later = figures(after, options);
    figures(before, options)
        .iter()
        .filter_map(|earlier| {
            let later = later.iter().find(|later| later.figure == earlier.figure)?;
            Some(earlier.beside(later, options))
        })
        .collect()
}

struct Counted {
    figure: Figure,
    /// As it was counted; the estimate has the half in it.
    value: f64,
    estimate: Estimate,
}

impl Counted {
    /// There are no values of single requests to be ranked, so that the p is that of Student's t, by which the
    /// interval was made.
    fn beside(&self, later: &Counted, options: &Options) -> Evidence {
        Evidence {
            figure: self.figure,
            before: self.value,
            after: later.value,
            ratio: ratio(&self.estimate, &later.estimate, options.confidence),
            p_value: t_test(&self.estimate, &later.estimate),
            delta: None,
        }
    }
}

fn figures(run: &Run, options: &Options) -> Vec<Counted> {
    let slices = loaded(&run.slices);
    let requests = Sums::of(slices, |slice| (slice.answered as f64, slice.seconds)).counted(Figure::Requests, options);
    let goodput = requests.as_ref().and_then(|requests| goodput(run, requests));
    let tokens = Sums::of(slices, |slice| (slice.output_tokens as f64, slice.seconds));
    let errors = Sums::of(slices, |slice| (slice.failed as f64, (slice.answered + slice.failed) as f64));
    let tokens = (run.counts.output_tokens > 0).then(|| tokens.counted(Figure::OutputTokens, options)).flatten();
    let errors = errors.counted(Figure::ErrorRate, options);
    let cpu = cpu(slices).and_then(|cpu| cpu.counted(Figure::CpuPerRequest, options));
    [requests, goodput, tokens, errors, cpu].into_iter().flatten().collect()
}

/// Up to the last slice in which anything was sent: what follows only waits for answers.
fn loaded(slices: &[Slice]) -> &[Slice] {
    let end = slices.iter().rposition(|slice| slice.sent > 0).map_or(0, |last| last + 1);
    &slices[..end]
}

/// The share of good answers varies as that of independent requests does.
fn goodput(run: &Run, requests: &Counted) -> Option<Counted> {
    let (good, answered) = (run.counts.good as f64, run.counts.answered as f64);
    let share = (good + HALF) / (answered + 2.0 * HALF);
    let variance = requests.estimate.variance + (1.0 - share) / (good + HALF);
    let estimate = Estimate { value: requests.estimate.value * share, variance, ..requests.estimate };
    (answered > 0.0).then(|| Counted { figure: Figure::Goodput, value: requests.value * good / answered, estimate })
}

/// In microseconds. None where the target's process was not measured throughout.
fn cpu(slices: &[Slice]) -> Option<Sums> {
    let whole = !slices.is_empty() && slices.iter().all(|slice| slice.cpu_share.is_some());
    let used = |slice: &Slice| slice.cpu_share.unwrap_or_default() * slice.seconds * 1e6;
    whole.then(|| Sums { added: 0.0, ..Sums::of(slices, |slice| (used(slice), slice.answered as f64)) })
}

/// A figure that is one sum over the slices by another.
struct Sums {
    parts: Vec<(f64, f64)>,
    /// To the upper sum.
    added: f64,
}

impl Sums {
    fn of(slices: &[Slice], part: impl Fn(&Slice) -> (f64, f64)) -> Sums {
        Sums { parts: slices.iter().map(part).collect(), added: HALF }
    }

    fn counted(&self, figure: Figure, options: &Options) -> Option<Counted> {
        let once = vec![1; self.parts.len()];
        let value = self.figure(&once, 0.0)?;
        let estimate = self.estimate(self.figure(&once, self.added)?, options)?;
        Some(Counted { figure, value, estimate })
    }

    /// Where there are few slices, counted events are taken to come by themselves (Poisson), and nothing is known of
    /// what is not counted.
    fn estimate(&self, value: f64, options: &Options) -> Option<Estimate> {
        if let Some(blocks) = Blocks::new(self.parts.len()) {
            let figures = |times: &[u32]| Some([self.figure(times, self.added)?]);
            let found = blocks.variances(options.replicates, options.seed, figures);
            return Some(Estimate { value, variance: found.variances[0], freedom: found.freedom });
        }
        let events = self.parts.iter().map(|part| part.0).sum::<f64>() + self.added;
        (self.added > 0.0).then_some(Estimate { value, variance: 1.0 / events, freedom: KNOWN })
    }

    fn figure(&self, times: &[u32], added: f64) -> Option<f64> {
        let (over, under) = self.parts.iter().zip(times).fold((added, 0.0), |(over, under), (part, times)| {
            (over + part.0 * f64::from(*times), under + part.1 * f64::from(*times))
        });
        (under > 0.0).then(|| over / under)
    }
}
