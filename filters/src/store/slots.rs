//! The connections of the worker threads, one each.

use std::sync::Arc;
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
pub(super) struct Slots(DashMap<ThreadId, Slot>);

impl Slots {
    /// This thread's connection. If it has none, a task makes one for the next.
    pub(super) fn link(&self, store: &Arc<Store>, epoch: u64) -> Option<Link> {
        let thread = thread::current().id();
        match self.0.get(&thread) {
            Some(slot) if slot.epoch == epoch => return slot.link.clone(),
            _ => {}
        }
        let runtime = Handle::try_current().ok()?;
        self.0.insert(thread, Slot { runtime: runtime.clone(), epoch, link: None });
        runtime.spawn(connect(store.clone(), thread, epoch));
        None
    }

    /// Lets all connections go, so that nothing that waits on one is sent any more.
    pub(super) fn cut(&self) {
        self.0.iter_mut().for_each(|mut slot| slot.link = None);
    }

    /// Gives every thread that had a connection a new one, before a request has to do without.
    pub(super) fn connect_all(&self, store: &Arc<Store>, epoch: u64) {
        for mut slot in self.0.iter_mut() {
            slot.epoch = epoch;
            slot.link = None;
            slot.runtime.spawn(connect(store.clone(), *slot.key(), epoch));
        }
    }
}

async fn connect(store: Arc<Store>, thread: ThreadId, epoch: u64) {
    match store.opener.open().await {
        Ok(link) => {
            if let Some(mut slot) = store.slots.0.get_mut(&thread)
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
