//! The leases of this process that Redis holds, renewed while they are open: so those of a sidecar that died are
//! free again after their time, and those of one that lives never before they are settled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::{Answer, Call, Kind, Lease, Limit, Line, Remote, Settle, scripts};

/// Leases renewed by one call at most.
const TOGETHER: usize = 500;

/// By limit's key: the limit, and its leases as the script names them.
#[derive(Default)]
pub(super) struct Leases(DashMap<String, Held>);

struct Held {
    limit: Limit,
    open: HashMap<Lease, String>,
}

impl Leases {
    /// Notes what an answer says is open now.
    pub(super) fn note(&self, call: &Call, answer: &Answer) {
        for (number, line) in call.lines.iter().enumerate() {
            if line.limit.kind == Kind::Window {
                continue;
            }
            if let Some(restore) = &line.restore
                && restored(answer, number, line)
            {
                restore.open.iter().for_each(|open| self.add(line, open.lease, open.reserved, open.at));
            }
            if let Answer::Admitted { at, .. } = answer {
                self.add(line, call.lease, line.cost, *at);
            }
        }
    }

    fn add(&self, line: &Line, lease: Lease, reserved: u64, at: u64) {
        let reserved = if line.limit.kind == Kind::Concurrent { 1 } else { reserved };
        let name = format!("{}:{reserved}:{at}", lease.0);
        let held = || Held { limit: line.limit.clone(), open: HashMap::new() };
        match self.0.get_mut(&line.limit.key) {
            Some(mut held) => held.open.insert(lease, name),
            None => self.0.entry(line.limit.key.clone()).or_insert_with(held).open.insert(lease, name),
        };
    }

    pub(super) fn end(&self, settle: &Settle) {
        let Some(mut held) = self.0.get_mut(&settle.limit.key) else { return };
        held.open.remove(&settle.lease);
        let last = held.open.is_empty();
        drop(held);
        if last {
            self.0.remove_if(&settle.limit.key, |_, held| held.open.is_empty());
        }
    }
}

/// Whether Redis has taken what was to be restored. A lease that it does not have is not renewed by being named.
fn restored(answer: &Answer, number: usize, line: &Line) -> bool {
    match answer {
        Answer::Admitted { .. } | Answer::Refused { .. } => true,
        Answer::Lost { stored, .. } => stored.get(number).is_some_and(|stored| *stored >= line.known),
    }
}

impl Remote {
    pub(super) async fn renew_leases(self: &Arc<Self>) {
        let every = (self.reservation / 3).max(Duration::from_millis(1));
        loop {
            tokio::time::sleep(every).await;
            self.store.up().await;
            // Copied out, so that no lock is held while Redis is waited for.
            let held: Vec<_> = self
                .leases
                .0
                .iter()
                .map(|held| (held.limit.clone(), held.open.values().cloned().collect::<Vec<_>>()))
                .collect();
            for (limit, open) in held {
                for some in open.chunks(TOGETHER) {
                    let _ = self.store.call_patiently(scripts::renew(self, &limit, some.iter())).await;
                }
            }
        }
    }
}
