//! What is on its way to Redis, within a bound.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::semantic_cache::entry::{Entry, Hint, Id, Scope};

/// What may wait, by count and by size.
const JOBS: usize = 8192;
const BYTES: usize = 16 << 20;
/// What is sent side by side.
const BATCH: usize = 32;

pub(in super::super) enum Job {
    Keep(Arc<Entry>, Bytes),
    Hint(Hint),
    Gone(Scope, Id),
}

impl Job {
    fn size(&self) -> usize {
        match self {
            Job::Keep(_, bytes) => bytes.len(),
            Job::Hint(hint) => size_of::<Hint>() + hint.text.len() + hint.vector.len(),
            Job::Gone(..) => 64,
        }
    }
}

#[derive(Default)]
pub(in super::super) struct Queue {
    waiting: Mutex<Waiting>,
    any: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
}

impl Queue {
    /// False where it is full.
    pub(in super::super) fn push(&self, job: Job) -> bool {
        let size = job.size();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.jobs.len() >= JOBS || waiting.bytes + size > BYTES {
                return false;
            }
            waiting.bytes += size;
            waiting.jobs.push_back(job);
        }
        self.any.notify_one();
        true
    }

    /// Waits until there is something.
    pub(in super::super) async fn any(&self) {
        self.any.notified().await;
    }

    /// The next that may be sent side by side: nothing overtakes a removal, and a removal nothing.
    pub(in super::super) fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = waiting.jobs.iter().position(|job| matches!(job, Job::Gone(..)));
        let count = apart.map_or(BATCH, |at| at.max(1)).min(BATCH).min(waiting.jobs.len());
        let taken: Vec<Job> = waiting.jobs.drain(..count).collect();
        waiting.bytes -= taken.iter().map(Job::size).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic_cache::places::testing::{SCOPE, entry, hint, id};

    fn keep(number: u32, size: usize) -> Job {
        Job::Keep(Arc::new(entry(number)), vec![0; size].into())
    }

    #[test]
    fn nothing_overtakes_a_removal() {
        let queue = Queue::default();
        for job in [keep(1, 9), Job::Hint(hint(1)), Job::Gone(SCOPE, id(1)), keep(1, 9), Job::Hint(hint(1))] {
            assert!(queue.push(job));
        }
        let taken: Vec<usize> = (0..4).map(|_| queue.take().len()).collect();
        assert_eq!(taken, [2, 1, 2, 0]);
    }

    #[test]
    fn it_takes_no_more_than_its_bounds() {
        let queue = Queue::default();
        assert!(queue.push(keep(1, BYTES)));
        assert!(!queue.push(keep(2, 1)), "too many bytes");
        assert_eq!(queue.take().len(), 1);
        assert!((0..JOBS).all(|_| queue.push(keep(3, 1))));
        assert!(!queue.push(keep(4, 1)), "too many");
    }
}
