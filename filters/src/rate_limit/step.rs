//! In step with the other sidecars: whether the store's word can be taken for the whole truth.
//!
//! A store that has come back knows nothing of what the sidecars admitted meanwhile, and one that asked it at once
//! would be told that there is room which the others have used. So each first tells what it has to tell, goes
//! on with its share until all have (or some do not come back in time), and only then asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep};

use super::ledger::{Account, Line, State};
use super::limiter::Limiter;
use super::remote::{Answer, Call, Kind, Lease, Remote, Settle};
use crate::store::{Replicas, Store};

/// How long the others are waited for.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the others have to notice that the store has lost an account: longer than a refusal is repeated.
pub const UNSURE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(25);
/// How often the number of sidecars is noted while all is well.
const NOTE: Duration = Duration::from_millis(50);
/// Accounts told of at once.
const TOGETHER: usize = 32;

/// Shared by requests, which read it, and the background, which writes it.
pub struct Step {
    /// The store's time of being up in which this sidecar is in step; 0 is none.
    epoch: AtomicU64,
    /// The sidecars while all was well.
    replicas: AtomicU64,
}

impl Default for Step {
    fn default() -> Self {
        Step { epoch: AtomicU64::new(0), replicas: AtomicU64::new(1 << 32) }
    }
}

impl Step {
    /// Whether the store may be asked.
    pub fn is_kept(&self, store: &Store) -> bool {
        store.epoch().is_some_and(|epoch| epoch == self.epoch.load(Ordering::Acquire))
    }

    /// The sidecars as they were when all was last well.
    pub fn replicas(&self) -> Replicas {
        let seen = self.replicas.load(Ordering::Relaxed);
        Replicas { count: (seen >> 32) as u32, rank: seen as u32 }
    }

    fn note(&self, Replicas { count, rank }: Replicas) {
        self.replicas.store(u64::from(count) << 32 | u64::from(rank), Ordering::Relaxed);
    }
}

impl Limiter {
    /// Falls into step whenever the store comes (back).
    pub(super) async fn keep_step(self: &Arc<Self>, remote: &Arc<Remote>) {
        let store = remote.store();
        loop {
            store.up().await;
            let Some(epoch) = store.epoch() else { continue };
            if self.now_holds().fall_in(remote, epoch).await {
                self.step.epoch.store(epoch, Ordering::Release);
            }
            while store.epoch() == Some(epoch) {
                self.step.note(store.replicas());
                let _ = tokio::time::timeout(NOTE, store.over(epoch)).await;
            }
        }
    }

    /// Tells what there is to tell, and waits until the others have; false if the store has gone again.
    async fn fall_in(&self, remote: &Arc<Remote>, epoch: u64) -> bool {
        let (begun, store) = (Instant::now(), remote.store());
        self.tell_all(remote, |state| !state.log.is_empty() || !state.open.is_empty()).await;
        while store.epoch() == Some(epoch) {
            let Some(told) = store.have_told().await else { continue };
            // What is admitted meanwhile: those who are in step already must not give it to somebody else.
            self.tell_all(remote, |state| state.untold > 0).await;
            if told >= u64::from(self.step.replicas().count) || begun.elapsed() > PATIENCE {
                return store.epoch() == Some(epoch);
            }
            sleep(LOOK).await;
        }
        false
    }

    /// Tells of all accounts of which there is something to tell.
    async fn tell_all(&self, remote: &Arc<Remote>, due: impl Fn(&State) -> bool) {
        let due = |account: &Arc<Account>| due(&account.state());
        let lines = self.ledger.accounts().into_iter().filter(due).filter_map(|account| self.line(&account));
        let telling = lines.map(|line| self.tell_one(remote, line));
        let telling = futures::stream::iter(telling).for_each_concurrent(TOGETHER, |one| one);
        let _ = tokio::time::timeout(PATIENCE, telling).await;
    }

    /// Asks for nothing, and so tells what the store does not know.
    pub(super) async fn tell_one(&self, remote: &Arc<Remote>, line: Line) {
        let (lines, lease, mut stored) = ([line], self.lease(), None);
        for _ in 0..4 {
            let (Call { lines: asked, .. }, told) = self.call(&lines, lease, stored.as_deref());
            let seen = match remote.admit(Call { lease, lines: asked }, |_| ()).await {
                Ok(Answer::Lost { stored: has, .. }) => {
                    stored = Some(has);
                    continue;
                }
                Ok(Answer::Admitted { at, lines: seen }) => {
                    release(remote, &lines[0], lease, at);
                    seen
                }
                Ok(Answer::Refused { lines: seen, .. }) => seen,
                Err(_) => return,
            };
            self.learn(&lines[0], &seen[0], told[0]);
            // With an empty window this sidecar forgets how much the store knows of it: then it hears of that here
            // first, and only now that the store lacks something.
            if told[0] > 0 || lines[0].account.state().untold == 0 {
                return;
            }
            stored = None;
        }
    }
}

/// Gives back the lease that came with asking.
fn release(remote: &Arc<Remote>, line: &Line, lease: Lease, at: u64) {
    if line.kind != Kind::Window {
        remote.settle(Settle { limit: line.limit(), lease, at, reserved: line.cost, actual: 0, known: 0 });
    }
}
