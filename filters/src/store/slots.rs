//! The connections of the worker threads, one each.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use dashmap::DashMap;
use tokio::runtime::Handle;

use super::link::Link;
use super::{Fault, Store};

/// What one thread has: the runtime that drives its connection, and the connection when it is there.
struct Slot {
    runtime: Handle,
    /// The time of being up that the connection, or the task that makes it, belongs to.
    epoch: u64,
    link: Option<Link>,
}

#[derive(Default)]
pub(super) struct Slots {
    threads: DashMap<ThreadId, Slot>,
    /// The background's own, for threads that have none yet: slower, but requests never do without.
    spare: Mutex<Option<Link>>,
}

impl Slots {
    pub(super) fn spare(&self, link: Option<Link>) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// This thread's connection. If it has none, a task makes one, and the spare one serves until it is there.
    pub(super) fn link(&self, store: &Arc<Store>, epoch: u64) -> Option<Link> {
        let thread = thread::current().id();
        // The map's guard must go before the map is written to.
        let known = self.threads.get(&thread).filter(|slot| slot.epoch == epoch).map(|slot| slot.link.clone());
        match known {
            Some(Some(link)) => return Some(link),
            Some(None) => {}
            None => {
                let runtime = Handle::try_current().ok()?;
                self.threads.insert(thread, Slot { runtime: runtime.clone(), epoch, link: None });
                runtime.spawn(connect(store.clone(), thread, epoch));
            }
        }
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets all connections go, so that nothing that waits on one is sent any more.
    pub(super) fn cut(&self) {
        self.threads.iter_mut().for_each(|mut slot| slot.link = None);
        self.spare(None);
    }

    /// Gives every thread that had a connection a new one, before a request has to do without.
    pub(super) fn connect_all(&self, store: &Arc<Store>, epoch: u64) {
        for mut slot in self.threads.iter_mut() {
            slot.epoch = epoch;
            slot.link = None;
            slot.runtime.spawn(connect(store.clone(), *slot.key(), epoch));
        }
    }
}

async fn connect(store: Arc<Store>, thread: ThreadId, epoch: u64) {
    match store.opener.open().await {
        Ok(link) => {
            if let Some(mut slot) = store.slots.threads.get_mut(&thread)
                && slot.epoch == epoch
                && store.health.epoch_if_up() == Some(epoch)
            {
                slot.link = Some(link);
            }
        }
        Err(error) => {
            let fault = match Fault::of(&error) {
                Fault::Other => Fault::Refused,
                fault => fault,
            };
            store.meters.error(fault);
            store.fall(fault, epoch);
        }
    }
}
