//! One thread of the load: its own runtime, connections and recorder, and nothing to wait for but the clock.

mod closed;
mod open;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::checker::Checker;
use super::lane::{Course, Lane};
use super::requests::{Expectation, Requests};
use crate::load::plan::{Planned, Users};
use crate::load::record::Shared;

/// Between looks at the sockets and the clock, so many tasks of an open loop run: the default of 61 lets a burst of
/// streams make the next request late. A closed loop has no schedule, and each look costs it throughput.
const TASKS_A_LOOK: u32 = 16;

pub struct Worker {
    pub start: Instant,
    pub requests: Requests,
    pub course: Arc<Course>,
    pub recorder: Shared,
    pub in_flight: Arc<InFlight>,
    /// Turns true where the run is to end before its plan.
    pub stop: watch::Receiver<bool>,
}

pub enum Work {
    /// In order; the sender's end is the plan's.
    Open(mpsc::Receiver<Vec<Planned>>),
    /// The stages, with this worker's share of the users.
    Closed(Vec<Users>),
}

/// How many requests are sent and not yet answered, over all workers.
#[derive(Default)]
pub struct InFlight {
    now: AtomicU64,
    most: AtomicU64,
}

impl InFlight {
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    fn enter(self: &Arc<InFlight>) -> Entered {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Entered(Arc::clone(self))
    }
}

struct Entered(Arc<InFlight>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the requests of a worker share.
struct Hand {
    start: Instant,
    course: Arc<Course>,
    recorder: Shared,
    in_flight: Arc<InFlight>,
    checker: Checker,
    requests: Mutex<Requests>,
}

impl Worker {
    /// Works on the calling thread until the plan is done, or stopped, and every stream is checked.
    pub fn work(self, work: Work) -> anyhow::Result<()> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        if matches!(work, Work::Open(_)) {
            builder.event_interval(TASKS_A_LOOK);
        }
        let runtime = builder.enable_all().build()?;
        let hand = Arc::new(Hand {
            start: self.start,
            course: self.course,
            checker: Checker::start(self.recorder.clone())?,
            recorder: self.recorder,
            in_flight: self.in_flight,
            requests: Mutex::new(self.requests),
        });
        match work {
            Work::Open(plan) => runtime.block_on(open::run(Arc::clone(&hand), plan, self.stop))?,
            Work::Closed(stages) => runtime.block_on(closed::run(Arc::clone(&hand), stages, self.stop))?,
        }
        // The tasks that a stop has cut off end with the runtime, and let go of the checker.
        drop(runtime);
        Arc::into_inner(hand).map_or(Ok(()), |hand| hand.checker.finish())
    }
}

impl Hand {
    /// One request that stands written in the lane, from its sending to its place in the books.
    async fn send(&self, lane: &mut Lane, expectation: Expectation, intended: Instant) -> bool {
        let entered = self.in_flight.enter();
        let (outcome, check) = lane.exchange(&self.course, expectation, intended).await;
        drop(entered);
        let connected = outcome.failure != Some(super::Failure::Connect);
        match check {
            Some(check) => self.checker.check(check, outcome, std::mem::take(&mut lane.gaps)),
            None => self.recorder.lock().record(&outcome, &lane.gaps),
        }
        connected
    }
}
