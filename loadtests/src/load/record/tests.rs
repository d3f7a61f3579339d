use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Failure, Outcome};
use super::{Frame, Recorder};
use crate::integrity::Verdict;
use crate::load::result::Metric;

fn recorder(limits: &[(Metric, f64)]) -> (Recorder, Instant) {
    let start = Instant::now() + Duration::from_secs(60);
    let frame = Frame { start, slice: Duration::from_secs(1), limits: limits.to_vec(), scheduled: true };
    (Recorder::new(frame).unwrap(), start)
}

fn outcome(intended: Instant, milliseconds: u64) -> Outcome {
    let ended = intended + Duration::from_millis(milliseconds);
    Outcome { ended, output_tokens: 3, ..Outcome::new(intended, intended, false) }
}

#[test]
fn the_warm_up_is_seen_and_not_measured() {
    let (mut recorder, start) = recorder(&[]);
    recorder.record(&outcome(start - Duration::from_millis(1), 5), &[]);
    assert_eq!((recorder.counts.sent, recorder.recent.answered), (0, 1));
    recorder.record(&outcome(start, 5), &[]);
    assert_eq!((recorder.counts.sent, recorder.recent.answered), (1, 2));
}

#[test]
fn a_request_belongs_to_the_slice_of_its_intended_time() {
    let (mut recorder, start) = recorder(&[]);
    recorder.record(&outcome(start + Duration::from_millis(900), 5000), &[]);
    recorder.record(&outcome(start + Duration::from_millis(1000), 1), &[]);
    let taken = recorder.take_slices_before(1);
    assert_eq!(taken.keys().collect::<Vec<_>>(), [&0]);
    assert_eq!((taken[&0].sent, taken[&0].end_to_end[0]), (1, 5_000_000_000));
    assert_eq!(recorder.slices[&1].sent, 1, "the rest stays");
}

#[test]
fn a_good_request_keeps_to_every_limit() {
    let (mut recorder, start) = recorder(&[(Metric::EndToEnd, 100.0), (Metric::Ttft, 10.0)]);
    recorder.record(&outcome(start, 99), &[]);
    recorder.record(&outcome(start, 101), &[]);
    let late = Outcome { first: Some(start + Duration::from_millis(11)), stream: true, ..outcome(start, 20) };
    recorder.record(&late, &[]);
    assert_eq!((recorder.counts.answered, recorder.counts.good), (3, 1), "no stream has no first token to be late");
}

#[test]
fn what_failed_has_a_kind_and_no_latency() {
    let (mut recorder, start) = recorder(&[]);
    let verdict = Verdict::Lost { first: 3 };
    let lost = Outcome { failure: Failure::of(&verdict), integrity: Some(verdict), ..outcome(start, 5) };
    recorder.record(&lost, &[1000]);
    assert_eq!((recorder.counts.failed, recorder.errors[&Failure::Lost]), (1, 1));
    assert_eq!((recorder.integrity.checked, recorder.integrity.whole, recorder.integrity.lost), (1, 0, 1));
    let measured = recorder.latencies.distributions().unwrap();
    assert_eq!(measured.keys().collect::<Vec<_>>(), [&Metric::ScheduleLag], "only how late it was sent");
}

#[test]
fn recording_costs_well_under_a_microsecond() {
    let (mut recorder, start) = recorder(&[(Metric::EndToEnd, 100.0)]);
    let begin = thread_time();
    for number in 0..100_000 {
        recorder.record(&outcome(start + Duration::from_micros(number * 10), number % 50), &[]);
    }
    let each = (thread_time() - begin) / 100_000;
    // The bar is a microsecond; without optimisation, and on a machine that others use, it is allowed ten.
    assert!(each < Duration::from_micros(10), "{each:?} a request");
    assert_eq!(recorder.counts.sent, 100_000);
}

/// Of the processor for this thread alone: what others do meanwhile takes none of it.
fn thread_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().unwrap()
}
