//! The windows that all sidecars share, in Redis: a request is admitted to all of its limits or to none, in one
//! atomic step and one round trip.
//!
//! A window is 61 buckets, of which 60 are as long as the window is: so it never lets anything over, and refuses
//! little that an exact log would let in. Time is Redis's own, so that no clock of a sidecar can reopen a race.
//! Redis may forget. Each sidecar's part of a limit is therefore counted apart, and a request says how much of it
//! Redis must know (`known`): if Redis knows less it charges nothing and says so ([`Answer::Lost`]), and the
//! caller asks again with what is missing ([`Restore`]). What was admitted while Redis was away comes in by the
//! same way.

mod answer;
mod leases;
mod scripts;
mod settles;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Meter;

use crate::store::{Store, Unanswered};
use leases::Leases;
use settles::Settles;

/// Microseconds on Redis's clock.
pub type Micros = u64;

/// A request, told apart from all others of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease(pub u64);

/// How a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was charged within the window.
    Window,
    /// The same, and the charge is a reservation that will be settled with what was really used.
    Reserved,
    /// Requests that are open. Their window and cost are of no account.
    Concurrent,
}

/// A limit, as Redis has to know it. One request must not name the same key twice. Amounts are below 10^14.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// With a hash tag around what all limits of one request share: `outrigger:{tenant}:rpm`. Another window or
    /// kind needs another key.
    pub key: String,
    pub kind: Kind,
    pub amount: u64,
    pub window: Duration,
}

/// What one request asks of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub limit: Limit,
    pub cost: u64,
    /// How much Redis must know of what this sidecar charged here (of `Concurrent`: how many of its leases), as
    /// [`Seen::own`] said it last; 0 when none of it lies in the last window any more.
    pub known: u64,
    pub restore: Option<Restore>,
}

/// What Redis is to know again. After it, what it knows of this sidecar is [`Line::known`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// What Redis said it has; the restore is void if that has changed, so that several requests may bring it.
    pub stored: u64,
    /// What is missing: how long ago, and how much.
    pub charges: Vec<(Duration, u64)>,
    /// The leases that are open; those that Redis still has are left as they are.
    pub open: Vec<Open>,
}

/// An open lease. Its cost is one of the charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub lease: Lease,
    pub reserved: u64,
    /// When it was charged, on Redis's clock or as near to it as is known; its [`Settle`] must say the same.
    pub at: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub lease: Lease,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All lines are charged.
    Admitted { at: Micros, lines: Vec<Seen> },
    /// Nothing is charged; [`Seen::fits`] is false for those to which the cost was too much.
    Refused { at: Micros, lines: Vec<Seen> },
    /// Nothing is charged: Redis knows less of this sidecar than it must, on some line. What it knows, by line.
    Lost { at: Micros, stored: Vec<u64> },
}

/// A limit after the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub used: u64,
    /// What open leases have reserved, some of which may have left the window.
    pub reserved: u64,
    /// What Redis knows of this sidecar: all it ever charged, or of `Concurrent` its open leases.
    pub own: u64,
    /// Until the oldest part leaves the window.
    pub oldest: Option<Duration>,
    /// Until all that is charged now has left.
    pub newest: Option<Duration>,
    pub fits: bool,
    /// Until the cost fits if nobody charges and nothing is given back; none if it fits now, or never can.
    pub retry: Option<Duration>,
}

/// The end of a charge: what it really was. Only for what Redis has charged, as [`Answer::Admitted`], also a late
/// one, or a restore has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    pub limit: Limit,
    pub lease: Lease,
    /// The time of the answer that admitted it, or of the restore's [`Open`].
    pub at: Micros,
    pub reserved: u64,
    pub actual: u64,
    /// As [`Line::known`]: if Redis knows less, this is void, and the restore is to have the real amount.
    pub known: u64,
}

pub struct Remote {
    store: Arc<Store>,
    reservation: Duration,
    leases: Leases,
    settles: Settles,
    /// Replaces Redis's clock where it is not 0.
    clock: AtomicU64,
}

impl Remote {
    /// Leases that are not renewed for as long as `reservation` are given back.
    pub fn new(store: Arc<Store>, reservation: Duration, meter: &Meter) -> Arc<Self> {
        let settles = Settles::new(meter);
        Arc::new(Remote { store, reservation, leases: Leases::default(), settles, clock: AtomicU64::new(0) })
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Replaces Redis's clock, in microseconds; 0 gives it back. For tests: traces of hours are replayed in
    /// seconds against a real server, whose own clock can't be set.
    pub fn set_clock(&self, now: Micros) {
        self.clock.store(now, Ordering::Relaxed);
    }

    /// Admits a request to all of its limits, or to none. An answer that comes when this one has given up, or was
    /// dropped, goes to `late`: the request may be charged then, and is to be settled like any other.
    pub async fn admit<L>(self: &Arc<Self>, call: Call, late: L) -> Result<Answer, Unanswered>
    where
        L: FnOnce(Answer) + Send + 'static,
    {
        let asked = scripts::admit(self, &call);
        let call = Arc::new(call);
        let late = {
            let (remote, call) = (self.clone(), call.clone());
            move |value| {
                if let Some(answer) = remote.understand(&call, &value) {
                    late(answer);
                }
            }
        };
        let value = self.store.call(asked, late).await?;
        self.understand(&call, &value).ok_or(Unanswered::Down)
    }

    fn understand(&self, call: &Call, value: &redis::Value) -> Option<Answer> {
        let answer = answer::parse(value, call.lines.len())?;
        self.leases.note(call, &answer);
        Some(answer)
    }

    /// Puts what a request really used in the place of what it had reserved. Never waits.
    pub fn settle(&self, settle: Settle) {
        self.leases.end(&settle);
        self.settles.push(settle);
    }

    /// What is used of some limits.
    pub async fn read(self: &Arc<Self>, limits: &[Limit]) -> Result<Vec<Seen>, Unanswered> {
        // A few at a time: requests wait for the same Redis.
        let mut values = Vec::with_capacity(limits.len());
        for some in limits.chunks(16) {
            let reads: Vec<_> = some.iter().map(|limit| scripts::read(self, limit)).collect();
            let reads = reads.into_iter().map(|read| self.store.call_patiently(read));
            values.extend(futures::future::try_join_all(reads).await.map_err(|_| Unanswered::Down)?);
        }
        values.into_iter().map(|value| answer::parse_one(&value).ok_or(Unanswered::Down)).collect()
    }

    /// Waits until all settles are sent, half a second at most, and takes this sidecar off the list of those that live.
    pub async fn finish(&self) {
        let sent = async {
            while self.settles.are_waiting() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), sent).await;
        self.store.leave().await;
    }

    /// Sends settles as they come, and renews open leases, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.send_settles(), self.renew_leases());
    }
}
