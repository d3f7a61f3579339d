//! The end of the process, as requests see it: first they are only counted out, then their time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

/// Every stream asks at each of its events whether its time is over: not all workers at one lock.
const SHARDS: usize = 16;

/// Shared by whoever brings the end about and whoever is to notice it.
#[derive(Clone, Default)]
pub struct Ending(Arc<Inner>);

#[derive(Default)]
struct Inner {
    begun: AtomicBool,
    over: [CancellationToken; SHARDS],
}

impl Ending {
    /// No new connections from here on; what is in flight has its time to end.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::Release);
    }

    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Acquire)
    }

    /// The time is over: whoever is still being answered is told so, and cut.
    pub fn call_time(&self) {
        self.0.over.iter().for_each(CancellationToken::cancel);
    }

    /// Waits until the time is over.
    pub async fn over(&self) {
        self.0.over[shard()].cancelled().await;
    }
}

/// The one of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.with(|own| *own)
}
