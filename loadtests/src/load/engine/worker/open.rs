//! An open loop: every request at its time, whether or not others are answered.

use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Hand;
use crate::load::engine::lane::Lane;
use crate::load::plan::Planned;
use crate::wire::pacer::Pacer;

/// A load that is behind lets what it has sent run after so many requests.
const AT_ONCE: u32 = 4;

/// Sends in this future itself, which the runtime looks at before any task, and not in a task among thousands.
pub async fn run(
    hand: Arc<Hand>,
    mut plan: mpsc::Receiver<Vec<Planned>>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut sender = Sender { hand, pacer: Pacer::new()?, idle: Vec::new(), tasks: JoinSet::new(), behind: 0 };
    tokio::select! {
        sent = sender.send_all(&mut plan) => sent?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    tokio::select! {
        drained = sender.drain() => drained,
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

struct Sender {
    hand: Arc<Hand>,
    pacer: Pacer,
    /// The latest used last, so that as few connections as possible stay warm.
    idle: Vec<Lane>,
    tasks: JoinSet<Lane>,
    behind: u32,
}

impl Sender {
    async fn send_all(&mut self, plan: &mut mpsc::Receiver<Vec<Planned>>) -> anyhow::Result<()> {
        while let Some(batch) = plan.recv().await {
            for planned in &batch {
                self.send(planned).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, planned: &Planned) -> anyhow::Result<()> {
        while let Some(lane) = self.tasks.try_join_next() {
            self.idle.push(lane?);
        }
        let mut lane = self.idle.pop().unwrap_or_default();
        // Written before it is due, so that writing makes nothing late.
        let expectation = {
            let mut requests = self.hand.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.write(planned, &mut lane.request)
        };
        let Some(expectation) = expectation else { return Ok(()) };
        let intended = self.hand.start + planned.at;
        if intended > Instant::now() {
            self.behind = 0;
            self.pacer.until(intended).await?;
        } else {
            self.behind += 1;
            if self.behind.is_multiple_of(AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        let hand = Arc::clone(&self.hand);
        self.tasks.spawn(async move {
            hand.send(&mut lane, expectation, intended).await;
            lane
        });
        Ok(())
    }

    /// What is in flight ends within the timeout of a request.
    async fn drain(&mut self) -> anyhow::Result<()> {
        while let Some(lane) = self.tasks.join_next().await {
            drop(lane?);
        }
        Ok(())
    }
}
