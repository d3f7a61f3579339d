//! Deals a plan out to the workers, ahead of time and beside the load.

use std::num::NonZeroUsize;

use tokio::sync::mpsc;

use crate::load::plan::{Planned, Users};

/// Handed over at once, so that handing over costs little.
const BATCH: usize = 256;
/// So many batches wait for a worker; the planner is ahead, and a trace of any length takes no more memory.
const AHEAD: usize = 16;

pub type Dealt = mpsc::Receiver<Vec<Planned>>;

/// One receiver for each worker, and the dealing, which blocks and ends with the plan or with the workers.
pub fn deal(
    plan: Box<dyn Iterator<Item = Planned> + Send>,
    workers: NonZeroUsize,
) -> (Vec<Dealt>, impl FnOnce() + Send + use<>) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers.get()).map(|_| mpsc::channel(AHEAD)).unzip();
    let dealing = move || {
        let mut batches: Vec<Vec<Planned>> = senders.iter().map(|_| Vec::with_capacity(BATCH)).collect();
        for (number, planned) in plan.enumerate() {
            let worker = number % senders.len();
            batches[worker].push(planned);
            if batches[worker].len() == BATCH {
                let batch = std::mem::replace(&mut batches[worker], Vec::with_capacity(BATCH));
                if senders[worker].blocking_send(batch).is_err() {
                    return;
                }
            }
        }
        for (sender, batch) in senders.iter().zip(batches) {
            // A worker that is gone was stopped.
            let _ = sender.blocking_send(batch);
        }
    };
    (receivers, dealing)
}

/// A worker's share of the users of every stage.
pub fn share(stages: &[Users], worker: usize, workers: NonZeroUsize) -> Vec<Users> {
    let workers = workers.get();
    let count = |all: usize| all / workers + usize::from(worker < all % workers);
    stages.iter().map(|stage| Users { count: count(stage.count), ..stage.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn planned(number: u64) -> Planned {
        Planned { at: Duration::from_micros(number), ..Planned::default() }
    }

    #[test]
    fn every_request_goes_to_one_worker_in_order() {
        let workers = NonZeroUsize::new(3).unwrap();
        let (receivers, dealing) = deal(Box::new((0..1000).map(planned)), workers);
        let dealer = std::thread::spawn(dealing);
        let mut all = Vec::new();
        for mut receiver in receivers {
            let mut mine = Vec::new();
            while let Some(batch) = receiver.blocking_recv() {
                mine.extend(batch.into_iter().map(|planned| planned.at));
            }
            assert!(mine.is_sorted() && (333..=334).contains(&mine.len()), "a third each: {}", mine.len());
            all.extend(mine);
        }
        dealer.join().unwrap();
        all.sort_unstable();
        assert_eq!(all, (0..1000).map(|number| planned(number).at).collect::<Vec<_>>());
    }

    #[test]
    fn a_plan_ends_with_its_workers() {
        let (receivers, dealing) = deal(Box::new((0..).map(planned)), NonZeroUsize::MIN);
        drop(receivers);
        // It would run for ever.
        dealing();
    }

    #[test]
    fn users_are_shared_out() {
        let stages = [Users { count: 5, duration: Duration::from_secs(1), think: Duration::ZERO }];
        let workers = NonZeroUsize::new(2).unwrap();
        let shares: Vec<usize> = (0..2).map(|worker| share(&stages, worker, workers)[0].count).collect();
        assert_eq!(shares, [3, 2]);
    }
}
