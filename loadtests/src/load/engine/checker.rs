//! Checks every stream that carries the simulator's marks, after its last byte and beside the load.
//!
//! A check costs about as much as it takes to receive the stream, and hundreds may end at the same moment: on the
//! worker's own thread the next requests would go out late. So a thread of the lowest priority takes them. What waits
//! for it is bounded: beyond that the worker checks for itself, and is late rather than out of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::integrity::StreamCheck;
use crate::load::record::Shared;
use crate::load::record::outcome::{Failure, Outcome};

/// Bytes of streams that may wait.
const MOST_WAITING: usize = 256 * 1024 * 1024;
const LOWEST_PRIORITY: i32 = 19;

/// A check with what it has not yet seen.
#[derive(Default)]
pub struct Check {
    pub begun: StreamCheck,
    pub rest: Vec<u8>,
}

struct Job {
    check: Box<Check>,
    outcome: Outcome,
    gaps: Vec<u64>,
}

/// For one worker, into whose recorder it books what it has checked.
pub struct Checker {
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    recorder: Shared,
    thread: JoinHandle<()>,
}

impl Checker {
    pub fn start(recorder: Shared) -> std::io::Result<Checker> {
        let (jobs, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (counted, shared) = (Arc::clone(&waiting), recorder.clone());
        let builder = std::thread::Builder::new().name("check".to_owned());
        let thread = builder.spawn(move || work(&receiver, &counted, &shared))?;
        Ok(Checker { jobs, waiting, recorder, thread })
    }

    /// Books the outcome once its stream is checked.
    pub fn check(&self, check: Box<Check>, outcome: Outcome, gaps: Vec<u64>) {
        let (length, job) = (check.rest.len(), Job { check, outcome, gaps });
        let waits = self.waiting.fetch_add(length, Ordering::Relaxed) + length;
        let refused = if waits > MOST_WAITING { Some(job) } else { self.jobs.send(job).err().map(|error| error.0) };
        if let Some(job) = refused {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            job.run(&self.recorder);
        }
    }

    /// Waits until all are checked.
    pub fn finish(self) -> anyhow::Result<()> {
        drop(self.jobs);
        self.thread.join().map_err(|_| anyhow::anyhow!("the integrity check broke; this is a fault of the load tester"))
    }
}

impl Job {
    fn run(self, recorder: &Shared) {
        let Job { check, mut outcome, gaps } = self;
        let Check { mut begun, rest } = *check;
        begun.feed(&rest);
        let verdict = begun.verdict();
        outcome.failure = Failure::of(&verdict).or(outcome.failure);
        outcome.integrity = Some(verdict);
        recorder.lock().record(&outcome, &gaps);
    }
}

fn work(jobs: &Receiver<Job>, waiting: &AtomicUsize, recorder: &Shared) {
    // Of this thread alone. Where it is refused, checks only disturb the load more.
    let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
    for job in jobs {
        let length = job.check.rest.len();
        job.run(recorder);
        waiting.fetch_sub(length, Ordering::Relaxed);
    }
}
