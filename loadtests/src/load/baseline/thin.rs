//! A run with less of a timeline.

use hdrhistogram::Histogram;

use crate::load::result::{Distribution, Run, Slice};

/// How many parts a timeline is left with; more than the bootstrap needs.
const PARTS: usize = 12;

/// The same run in at most a dozen slices, each of several that follow each other; nothing that was counted is lost.
pub fn thin(run: &Run) -> anyhow::Result<Run> {
    let length = run.slices.len().div_ceil(PARTS).max(1);
    let slices = run.slices.chunks(length).filter_map(|chunk| together(chunk).transpose());
    Ok(Run { slices: slices.collect::<anyhow::Result<_>>()?, ..run.clone() })
}

/// None of no slices.
fn together(slices: &[Slice]) -> anyhow::Result<Option<Slice>> {
    let (Some(first), Some(last)) = (slices.first(), slices.last()) else { return Ok(None) };
    let seconds: f64 = slices.iter().map(|slice| slice.seconds).sum();
    let sum = |count: fn(&Slice) -> u64| slices.iter().map(count).sum();
    Ok(Some(Slice {
        at_seconds: first.at_seconds,
        seconds,
        sent: sum(|slice| slice.sent),
        answered: sum(|slice| slice.answered),
        failed: sum(|slice| slice.failed),
        output_tokens: sum(|slice| slice.output_tokens),
        in_flight: last.in_flight,
        end_to_end: added(slices.iter().filter_map(|slice| slice.end_to_end.as_ref()))?,
        ttft: added(slices.iter().filter_map(|slice| slice.ttft.as_ref()))?,
        resident_mib: last.resident_mib,
        open_files: last.open_files,
        cpu_share: cpu_share(slices, seconds),
    }))
}

fn added<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> anyhow::Result<Option<Distribution>> {
    let mut sum: Option<Histogram<u64>> = None;
    for distribution in distributions {
        let histogram = distribution.histogram()?;
        match &mut sum {
            Some(sum) => sum.add(histogram)?,
            None => sum = Some(histogram),
        }
    }
    sum.map(|sum| Distribution::of(&sum)).transpose()
}

/// None where any slice has none.
fn cpu_share(slices: &[Slice], seconds: f64) -> Option<f64> {
    let used: Option<f64> = slices.iter().map(|slice| Some(slice.cpu_share? * slice.seconds)).sum();
    used.map(|used| used / seconds)
}
