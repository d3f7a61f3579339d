//! Settles on their way to Redis: queued by requests, sent by the background.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use opentelemetry::metrics::{Counter, Meter};
use tokio::sync::Notify;

use super::{Kind, Remote, Settle, scripts};

/// Settles kept while Redis is away. The oldest are dropped beyond it: what they had reserved is given back when
/// its time is over, as if the sidecar had died.
const QUEUED: usize = 100_000;
/// Settles sent at once.
const TOGETHER: usize = 256;

pub(super) struct Settles {
    queue: Mutex<VecDeque<Settle>>,
    wake: Notify,
    /// Whether some are on their way.
    sending: AtomicBool,
    dropped: Counter<u64>,
}

impl Settles {
    pub(super) fn new(meter: &Meter) -> Self {
        let dropped = meter
            .u64_counter("outrigger_rate_limit_dropped_settles")
            .with_description(
                "Settles given up: too many waited for Redis to return, or it may have done them before it broke off.",
            )
            .build();
        Settles { queue: Mutex::default(), wake: Notify::new(), sending: AtomicBool::new(false), dropped }
    }

    pub(super) fn push(&self, settle: Settle) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(settle);
        let first = queue.len() == 1;
        if queue.len() > QUEUED {
            queue.pop_front();
            self.dropped.add(1, &[]);
        }
        drop(queue);
        // To wake another thread costs more than all the rest; while the queue is not empty it is awake.
        if first {
            self.wake.notify_one();
        }
    }

    fn some(&self) -> Vec<Settle> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.len().min(TOGETHER);
        self.sending.store(count > 0, Ordering::Release);
        queue.drain(..count).collect()
    }

    pub(super) fn are_waiting(&self) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        !queue.is_empty() || self.sending.load(Ordering::Acquire)
    }

    fn put_back(&self, settle: Settle) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_front(settle);
    }
}

impl Remote {
    pub(super) async fn send_settles(self: &Arc<Self>) {
        loop {
            let some = self.settles.some();
            if some.is_empty() {
                self.settles.wake.notified().await;
                continue;
            }
            self.store.up().await;
            let sent = futures::stream::iter(some).for_each_concurrent(None, |settle| self.send(settle));
            sent.await;
        }
    }

    async fn send(self: &Arc<Self>, settle: Settle) {
        let again = match self.store.call_patiently(scripts::settle(self, &settle)).await {
            Ok(_) => return,
            Err(None) => true,
            // Sent twice, a reservation is charged too much and never too little; anything else would be refunded
            // twice.
            Err(Some(fault)) if fault.is_ambiguous() => settle.limit.kind != Kind::Window,
            Err(Some(fault)) => fault.is_general(),
        };
        if again {
            self.settles.put_back(settle);
            // Where this thread has no connection yet, one is being made.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        } else {
            self.settles.dropped.add(1, &[]);
        }
    }
}
