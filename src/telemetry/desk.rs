//! The desk that records of requests are left on, and the thread that tells of them.
//!
//! Whoever leaves a record wakes nobody and waits for nobody: the thread looks every so often. Where it cannot keep up,
//! what has no place on the desk is counted and let go; the instruments have been told of it already.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use opentelemetry::metrics::Meter;
use outrigger_filters::trace::{Record, Sink};
use tokio::time::Instant;

/// Records that wait at most: some megabytes, and a second of more requests than two cores can answer.
pub const PLACES: usize = 16_384;
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the last look may take.
const LAST_LOOK: Duration = Duration::from_secs(2);

pub struct Desk {
    records: ArrayQueue<Record>,
    lost: AtomicU64,
    closing: AtomicBool,
    closed: AtomicBool,
}

/// Takes each record off the desk.
pub trait Digest: Send + 'static {
    fn digest(&mut self, record: &Record);
}

impl Desk {
    pub fn new(places: usize) -> Self {
        Desk {
            records: ArrayQueue::new(places),
            lost: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Starts the thread.
    pub fn open(self: &Arc<Self>, mut digest: impl Digest) -> std::io::Result<()> {
        let desk = self.clone();
        let work = move || {
            loop {
                // Asked for before the last look, so that nothing is left behind.
                let last = desk.closing.load(Ordering::Acquire);
                while let Some(record) = desk.records.pop() {
                    // A fault in telling of one request must not silence all that come after it.
                    if catch_unwind(AssertUnwindSafe(|| digest.digest(&record))).is_err() {
                        desk.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if last {
                    drop(digest);
                    return desk.closed.store(true, Ordering::Release);
                }
                std::thread::park_timeout(LOOK);
            }
        };
        std::thread::Builder::new().name("telemetry".to_owned()).spawn(work).map(drop)
    }

    /// Waits until what lies there has been told, for a while.
    pub fn finish(&self) {
        self.closing.store(true, Ordering::Release);
        let begun = Instant::now();
        while !self.closed.load(Ordering::Acquire) && begun.elapsed() < LAST_LOOK {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub fn observe(self: &Arc<Self>, meter: &Meter) {
        let desk = Arc::downgrade(self);
        meter
            .u64_observable_counter("outrigger_telemetry_lost_records")
            .with_description("Requests that no line, span or profile tells of, since too many came at once.")
            .with_callback(move |observer| {
                observer.observe(desk.upgrade().map_or(0, |desk| desk.lost.load(Ordering::Relaxed)), &[]);
            })
            .build();
    }
}

impl Sink for Desk {
    fn take(&self, record: Record) {
        if self.records.push(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use opentelemetry::trace::{SpanId, TraceId};
    use outrigger_filters::trace::Trace;

    use super::*;

    struct Told(mpsc::Sender<TraceId>);

    impl Digest for Told {
        fn digest(&mut self, record: &Record) {
            self.0.send(record.context.trace_id()).unwrap();
        }
    }

    fn leave(desk: &Arc<Desk>, number: u128) {
        drop(Trace::begin(TraceId::from(number), SpanId::INVALID, None, desk.clone()));
    }

    #[test]
    fn each_record_is_told_once_and_none_is_left_behind() {
        let desk = Arc::new(Desk::new(10_000));
        let (sender, told) = mpsc::channel();
        desk.open(Told(sender)).unwrap();
        (1..=10_000).for_each(|number| leave(&desk, number));
        desk.finish();
        let told: Vec<_> = told.iter().collect();
        assert_eq!(told, (1..=10_000).map(TraceId::from).collect::<Vec<_>>());
        assert_eq!(desk.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let desk = Arc::new(Desk::new(10));
        (1..=25).for_each(|number| leave(&desk, number));
        assert_eq!((desk.records.len(), desk.lost.load(Ordering::Relaxed)), (10, 15));
    }
}
