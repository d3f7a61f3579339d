//! Memory that a burst took goes back to the system once the burst is over.
//!
//! The allocator returns pages as it is used, so a worker that falls quiet right after a burst would keep
//! what the burst took until the next one. Each worker's part of the heap can only be cleared by itself.

use std::cell::Cell;
use std::time::Duration;

/// As many requests at once leave enough behind to be worth the search.
const BURST: usize = 64;

/// So long after its last request a worker counts as quiet.
const QUIET: Duration = Duration::from_secs(1);

thread_local! {
    static WORKER: Worker = const { Worker { busy: Cell::new(0), most: Cell::new(0), waits: Cell::new(false) } };
}

/// What one worker's thread is doing.
struct Worker {
    busy: Cell<usize>,
    /// The most at once since memory was given back.
    most: Cell<usize>,
    /// Whether somebody is waiting for it to be quiet already.
    waits: Cell<bool>,
}

/// A request begins on this thread.
pub fn request_begins() {
    WORKER.with(|worker| {
        let busy = worker.busy.get() + 1;
        worker.busy.set(busy);
        worker.most.set(worker.most.get().max(busy));
    });
}

/// A request is over. Workers do not take each other's work, so it ends where it began.
pub fn request_ends() {
    WORKER.with(|worker| {
        let busy = worker.busy.get().saturating_sub(1);
        worker.busy.set(busy);
        if busy == 0 && worker.most.get() >= BURST && !worker.waits.replace(true) {
            give_back_when_quiet();
        }
    });
}

/// Nobody owns the task: it outlives every request, and ends by itself after a second.
fn give_back_when_quiet() {
    let wait = async {
        tokio::time::sleep(QUIET).await;
        WORKER.with(|worker| {
            worker.waits.set(false);
            if worker.busy.get() == 0 {
                worker.most.set(0);
                // SAFETY: it only looks at the heap of the thread that calls it.
                unsafe { libmimalloc_sys::mi_collect(true) };
            }
        });
    };
    // Outside a runtime the process is ending, and its memory with it.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        drop(runtime.spawn(wait));
    }
}
