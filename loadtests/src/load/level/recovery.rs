//! How long a target takes to be as it was, once the last fault is over.

use crate::load::fault::FaultEdge;
use crate::load::result::{Run, Slice};

/// Back is what is at most so many times as slow, or as often wrong, as before.
const TOLERANCE: f64 = 1.2;
/// Slices in a row that must be back: one alone may be so by luck.
const STEADY: usize = 3;

/// What the slices before the first fault were like.
struct Before {
    error_rate: f64,
    /// Of end-to-end latency: the median of the slices' own.
    p95: f64,
}

/// Seconds from the end of the last fault to the first slice that is back and stays so: its errors and its p95 of
/// end-to-end latency are within 1.2 times those before the first fault, and so are the next two slices', as far as
/// there are any.
///
/// Slices are those of the intended send times, so a request that a stalled target answers late counts where it was
/// due. Where nothing was measured before the fault, where no fault has ended, and where the target never came back,
/// there is none. It is no finer than the slices.
pub fn recovery_seconds(run: &Run) -> Option<f64> {
    let begin = times(run, FaultEdge::BEGINS).reduce(f64::min)?;
    let end = times(run, FaultEdge::ENDS).reduce(f64::max)?;
    let before = Before::of(run.slices.iter().filter(|slice| slice.at_seconds + slice.seconds <= begin))?;
    // The slice in which the fault ends has requests from before its end; it cannot tell.
    let after: Vec<&Slice> = run.slices.iter().filter(|slice| slice.at_seconds >= end && over(slice) > 0).collect();
    let back = (0..after.len()).find(|place| after[*place..].iter().take(STEADY).all(|slice| before.is_like(slice)))?;
    Some(after[back].at_seconds - end)
}

/// Of the marks with this beginning, and of what strikes and is over at once.
fn times<'a>(run: &'a Run, prefix: &'a str) -> impl Iterator<Item = f64> + 'a {
    let is_one = move |what: &str| what.starts_with(prefix) || what.starts_with(FaultEdge::STRIKES);
    run.marks.iter().filter(move |mark| is_one(&mark.what)).map(|mark| mark.at_seconds)
}

impl Before {
    fn of<'a>(slices: impl Iterator<Item = &'a Slice>) -> Option<Before> {
        let slices: Vec<&Slice> = slices.filter(|slice| over(slice) > 0).collect();
        let failed: u64 = slices.iter().map(|slice| slice.failed).sum();
        let all: u64 = slices.iter().map(|slice| over(slice)).sum();
        let mut latencies: Vec<f64> = slices.iter().filter_map(|slice| Some(slice.end_to_end.as_ref()?.p95)).collect();
        latencies.sort_by(f64::total_cmp);
        let p95 = *latencies.get(latencies.len() / 2)?;
        Some(Before { error_rate: failed as f64 / all as f64, p95 })
    }

    /// A slice in which everything failed has no latency, and is not back.
    fn is_like(&self, slice: &Slice) -> bool {
        let error_rate = slice.failed as f64 / over(slice) as f64;
        let latency = slice.end_to_end.as_ref().map(|latency| latency.p95);
        error_rate <= self.error_rate * TOLERANCE && latency.is_some_and(|p95| p95 <= self.p95 * TOLERANCE)
    }
}

/// Requests that are over, one way or the other.
fn over(slice: &Slice) -> u64 {
    slice.answered + slice.failed
}
