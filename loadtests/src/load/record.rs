//! What one worker has seen: every outcome goes into the sums, into its slice, and into what is seen live.
//!
//! Recording is on the way of every request and must cost well under a microsecond: the slices keep plain values
//! and become histograms on another thread, once nothing more can come for them.

pub mod latencies;
pub mod outcome;
pub mod recent;
pub mod timeline;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::result::{Counts, Integrity, Metric};
use crate::integrity::Verdict;
use latencies::Latencies;
use outcome::{Failure, Outcome, nanoseconds};
use recent::Recent;

/// A recorder that its worker, the checker of its streams and the one who merges share.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Recorder>>);

impl Shared {
    pub fn new(recorder: Recorder) -> Shared {
        Shared(Arc::new(Mutex::new(recorder)))
    }

    /// Nothing that runs under the lock can leave a recorder half written.
    pub fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the measured time begins, how it is cut, and what a good request keeps to.
#[derive(Clone, Debug)]
pub struct Frame {
    pub start: Instant,
    pub slice: Duration,
    /// In milliseconds; a request is good where it keeps to all of them.
    pub limits: Vec<(Metric, f64)>,
    /// Whether requests have times at which they are due.
    pub scheduled: bool,
}

pub struct Recorder {
    frame: Frame,
    pub counts: Counts,
    pub errors: BTreeMap<Failure, u64>,
    pub integrity: Integrity,
    pub latencies: Latencies,
    pub slices: BTreeMap<u64, SliceRecord>,
    pub recent: Recent,
    /// The end of the last measured request.
    pub last: Option<Instant>,
}

/// A slice as it is recorded: nanoseconds, in the order in which the requests ended.
#[derive(Debug, Default)]
pub struct SliceRecord {
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub output_tokens: u64,
    pub end_to_end: Vec<u64>,
    pub ttft: Vec<u64>,
}

impl Recorder {
    pub fn new(frame: Frame) -> anyhow::Result<Recorder> {
        Ok(Recorder {
            frame,
            counts: Counts::default(),
            errors: BTreeMap::new(),
            integrity: Integrity::default(),
            latencies: Latencies::new()?,
            slices: BTreeMap::new(),
            recent: Recent::default(),
            last: None,
        })
    }

    /// Books a request that has ended, with the times between its chunks of content.
    pub fn record(&mut self, outcome: &Outcome, gaps: &[u64]) {
        self.recent.record(outcome);
        // The warm-up is seen live, and measured nowhere.
        let Some(since) = outcome.intended.checked_duration_since(self.frame.start) else { return };
        self.last = self.last.max(Some(outcome.ended));
        if self.frame.scheduled {
            self.latencies.record(Metric::ScheduleLag, outcome.lag());
        }
        let slice = (since.as_nanos() / self.frame.slice.as_nanos().max(1)) as u64;
        self.slices.entry(slice).or_default().record(outcome);
        self.count(outcome);
        if let Some(verdict) = &outcome.integrity {
            count_integrity(&mut self.integrity, verdict);
        }
        match outcome.failure {
            Some(failure) => *self.errors.entry(failure).or_default() += 1,
            None => self.measure(outcome, gaps),
        }
    }

    /// The slices before this one, to which nothing more is expected.
    pub fn take_slices_before(&mut self, slice: u64) -> BTreeMap<u64, SliceRecord> {
        let later = self.slices.split_off(&slice);
        std::mem::replace(&mut self.slices, later)
    }

    fn count(&mut self, outcome: &Outcome) {
        let counts = &mut self.counts;
        counts.sent += 1;
        counts.body_bytes_received += outcome.body_bytes;
        if outcome.stream {
            counts.stream_bytes_received += outcome.body_bytes;
        }
        if outcome.failure.is_some() {
            counts.failed += 1;
            return;
        }
        counts.answered += 1;
        counts.streams += u64::from(outcome.stream);
        counts.input_tokens += outcome.input_tokens;
        counts.output_tokens += outcome.output_tokens;
        counts.good += u64::from(self.frame.limits.iter().all(|(metric, limit)| within(outcome, *metric, *limit)));
    }

    fn measure(&mut self, outcome: &Outcome, gaps: &[u64]) {
        let latencies = &mut self.latencies;
        latencies.record(Metric::EndToEnd, outcome.end_to_end());
        latencies.record(Metric::Service, outcome.service());
        let of_streams = [
            (Metric::Ttft, outcome.ttft()),
            (Metric::ServiceTtft, outcome.service_ttft()),
            (Metric::Tpot, outcome.tpot()),
        ];
        for (metric, value) in of_streams {
            if let Some(value) = value {
                latencies.record(metric, value);
            }
        }
        gaps.iter().for_each(|gap| latencies.record_nanoseconds(Metric::InterToken, *gap));
    }
}

impl SliceRecord {
    fn record(&mut self, outcome: &Outcome) {
        self.sent += 1;
        if outcome.failure.is_some() {
            self.failed += 1;
            return;
        }
        self.answered += 1;
        self.output_tokens += outcome.output_tokens;
        self.end_to_end.push(nanoseconds(outcome.end_to_end()));
        self.ttft.extend(outcome.ttft().map(nanoseconds));
    }
}

/// A request that has no such time keeps to any limit of it.
fn within(outcome: &Outcome, metric: Metric, limit: f64) -> bool {
    let value = match metric {
        Metric::ScheduleLag => Some(outcome.lag()),
        Metric::EndToEnd => Some(outcome.end_to_end()),
        Metric::Service => Some(outcome.service()),
        Metric::Ttft => outcome.ttft(),
        Metric::ServiceTtft => outcome.service_ttft(),
        // Chunk by chunk it would not say whether the stream as a whole was within; the mean token does.
        Metric::InterToken | Metric::Tpot => outcome.tpot(),
    };
    value.is_none_or(|value| value.as_secs_f64() * 1e3 <= limit)
}

fn count_integrity(integrity: &mut Integrity, verdict: &Verdict) {
    integrity.checked += 1;
    let place = match verdict {
        Verdict::Whole { .. } => &mut integrity.whole,
        Verdict::Lost { .. } => &mut integrity.lost,
        Verdict::Repeated { .. } => &mut integrity.repeated,
        Verdict::Reordered { .. } => &mut integrity.reordered,
        Verdict::Crossed { .. } => &mut integrity.crossed,
        Verdict::Truncated { .. } => &mut integrity.truncated,
        Verdict::HashMismatch { .. } => &mut integrity.hash_mismatch,
        Verdict::ErrorEvent { .. } => &mut integrity.error_event,
        Verdict::Malformed { .. } => &mut integrity.malformed,
    };
    *place += 1;
}

#[cfg(test)]
mod tests;
