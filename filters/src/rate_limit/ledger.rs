//! What this process has admitted: an account for each limit and whoever it counts together.
//!
//! Without a shared store this is the truth. With one it mirrors this sidecar's part of it, so that the
//! limits still hold when the store cannot be asked, and so that the store can be told again what it lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::log::{Log, Nanos};
use super::remote::{Kind, Lease, Limit, Micros, Open};
use super::rule::{Demand, Rule};
use super::share::View;
use crate::ask::Tenant;

/// What its clock says at its beginning: what another process has charged before is older, and has a time, too.
const BEGIN: Nanos = Nanos::MAX / 4;

pub struct Ledger {
    accounts: DashMap<Arc<str>, Arc<Account>>,
    count: AtomicUsize,
    max_keys: usize,
    begun: Instant,
}

#[derive(Debug)]
pub struct Account {
    pub key: Arc<str>,
    /// Its limit as it was when the account was opened: name, unit, window and scope are those of today's.
    pub rule: Arc<Rule>,
    pub tenant: Tenant,
    /// Who within the tenant, as it may be shown.
    pub part: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub struct State {
    pub log: Log,
    /// Leases that have not ended: of requests in flight all; of reservations those that the store has.
    pub open: Vec<Open>,
    /// Reserved and not settled yet.
    pub reserved: u64,
    /// The highest count of this sidecar's charges that the store has told of.
    pub confirmed: u64,
    /// Charged without the store, and not told to it yet.
    pub untold: u64,
    /// What the store last said.
    pub view: Option<View>,
    /// Rare, and large.
    pub full: Option<Box<Full>>,
    /// The store has lost some of it, and the other sidecars are telling it theirs until then.
    pub unsure_until: Nanos,
    touched: Nanos,
}

/// The store's word that a request does not fit, which stays true for a while.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    pub at: Nanos,
    pub until: Nanos,
    pub standing: Standing,
}

impl State {
    /// What the store must know of this sidecar's charges, or has lost.
    pub fn known(&mut self, kind: Kind) -> u64 {
        if kind == Kind::Concurrent {
            return self.open.len() as u64;
        }
        if self.log.is_empty() {
            (self.confirmed, self.untold) = (0, 0);
        }
        self.confirmed + self.untold
    }
}

impl Account {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request wants of one account.
#[derive(Clone, Debug)]
pub struct Line {
    pub account: Arc<Account>,
    pub rule: usize,
    pub kind: Kind,
    pub window: Nanos,
    pub amount: u64,
    pub cost: u64,
}

impl Line {
    /// Its limit in the store's words.
    pub fn limit(&self) -> Limit {
        let window = Duration::from_nanos(self.window);
        Limit { key: self.account.key.to_string(), kind: self.kind, amount: self.amount, window }
    }

    /// Says that the store holds the lease since then.
    pub fn placed(&self, lease: Lease, at: Micros) {
        if self.kind == Kind::Window {
            return;
        }
        let mut state = self.account.state();
        match state.open.iter_mut().find(|open| open.lease == lease) {
            Some(open) => open.at = at,
            None => state.open.push(Open { lease, reserved: self.cost, at }),
        }
    }
}

/// Where a line stands: told to clients and operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub used: u64,
    pub reserved: u64,
    /// Until some of it is free again, and until all is.
    pub resets: Option<(Duration, Duration)>,
    pub fits: bool,
    /// Until the request would fit; none if it never can.
    pub retry: Option<Duration>,
}

impl Ledger {
    pub fn new(max_keys: usize) -> Self {
        Ledger { accounts: DashMap::new(), count: AtomicUsize::new(0), max_keys, begun: Instant::now() }
    }

    pub fn now(&self) -> Nanos {
        BEGIN.saturating_add(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(Nanos::MAX))
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The account that a request comes under. When there are too many, newcomers of one limit share one.
    pub fn account(&self, rule: &Arc<Rule>, demand: &Demand<'_>) -> Arc<Account> {
        let part = rule.part(demand);
        let key = rule.key(&demand.tenant, part.as_deref());
        if let Some(account) = self.accounts.get(key.as_str()) {
            return account.clone();
        }
        if self.len() < self.max_keys {
            return self.open(key, rule, demand.tenant, part);
        }
        let (everybody, rest) = (Tenant::anonymous(), Some("(others)".to_owned()));
        self.open(rule.key(&everybody, rest.as_deref()), rule, everybody, rest)
    }

    /// The account of a key that another process has named.
    pub fn adopt(&self, key: String, rule: &Arc<Rule>, tenant: Tenant, part: Option<String>) -> Arc<Account> {
        let account = self.open(key, rule, tenant, part);
        account.state().touched = self.now();
        account
    }

    fn open(&self, key: String, rule: &Arc<Rule>, tenant: Tenant, part: Option<String>) -> Arc<Account> {
        let key: Arc<str> = key.into();
        let entry = self.accounts.entry(key.clone()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Arc::new(Account { key, rule: rule.clone(), tenant, part, state: Mutex::default() })
        });
        entry.clone()
    }

    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Lets go the accounts in which nothing has happened for two windows.
    pub fn sweep(&self) {
        let now = self.now();
        self.keep(|account| {
            let window = account.rule.window.saturating_mul(2);
            // Whoever holds it may be about to charge it.
            Arc::strong_count(account) > 1 || {
                let state = account.state();
                now < state.touched.saturating_add(window) || !state.open.is_empty() || state.reserved > 0
            }
        });
    }

    /// Lets go those accounts for which this does not hold.
    pub fn keep(&self, mut holds: impl FnMut(&Arc<Account>) -> bool) {
        self.accounts.retain(|_, account| {
            let kept = holds(account);
            if !kept {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            kept
        });
        if self.accounts.capacity() > 4 * self.len() + 1024 {
            self.accounts.shrink_to_fit();
        }
    }

    /// Charges all lines or none. `cap` says how much may be in an account, if not the limit's own amount.
    ///
    /// The lines' accounts are locked in the order in which they lie in memory, so that no two requests wait
    /// for one another; `lines` must be in that order, as [`in_order`] puts them.
    pub fn admit(
        &self,
        lines: &[Line],
        lease: Lease,
        cap: impl Fn(&Line, &State, Nanos) -> u64,
    ) -> Result<(Vec<Nanos>, Vec<Standing>), Vec<Standing>> {
        let mut states: Vec<_> = lines.iter().map(|line| line.account.state()).collect();
        let now = self.now();
        let mut standings: Vec<Standing> = Vec::with_capacity(lines.len());
        for (line, state) in lines.iter().zip(&mut states) {
            state.touched = now;
            state.log.expire(now, line.window);
            let cap = cap(line, state, now);
            standings.push(stands(line, state, now, cap));
        }
        if standings.iter().any(|standing| !standing.fits) {
            return Err(standings);
        }
        let mut stamps = Vec::with_capacity(lines.len());
        for ((line, state), standing) in lines.iter().zip(&mut states).zip(&mut standings) {
            stamps.push(charge(line, state, now, lease));
            if line.kind != Kind::Concurrent {
                state.untold += line.cost;
            }
            standing.used += line.cost;
            standing.resets = state.log.leaving(now, line.window);
            standing.reserved = state.reserved;
        }
        Ok((stamps, standings))
    }

    /// Charges what the store has admitted.
    pub fn charge(&self, line: &Line, lease: Lease) -> Nanos {
        let mut state = line.account.state();
        let now = self.now();
        state.touched = now;
        state.log.expire(now, line.window);
        charge(line, &mut state, now, lease)
    }

    /// Where an account stands, as far as this process knows.
    pub fn standing(&self, line: &Line) -> Standing {
        let mut state = line.account.state();
        let now = self.now();
        state.log.expire(now, line.window);
        stands(line, &state, now, line.amount)
    }

    /// Ends what a line holds: `actual` is what it cost in the end. Gives by how much that is over the limit.
    pub fn settle(&self, line: &Line, stamp: Nanos, lease: Lease, actual: u64) -> u64 {
        self.settle_by(line, (stamp, Log::refund), lease, actual)
    }

    /// The same of what another process has charged.
    pub fn settle_near(&self, line: &Line, stamp: Nanos, lease: Lease, actual: u64) -> u64 {
        self.settle_by(line, (stamp, Log::refund_near), lease, actual)
    }

    fn settle_by(&self, line: &Line, (stamp, refund): (Nanos, Refund), lease: Lease, actual: u64) -> u64 {
        let mut state = line.account.state();
        let now = self.now();
        if let Some(place) = state.open.iter().position(|open| open.lease == lease) {
            state.open.swap_remove(place);
        }
        if line.kind == Kind::Concurrent {
            return 0;
        }
        if line.kind == Kind::Reserved {
            state.reserved = state.reserved.saturating_sub(line.cost);
        }
        state.log.expire(now, line.window);
        match actual.checked_sub(line.cost) {
            None => refund(&mut state.log, now, line.window, stamp, line.cost - actual),
            Some(0) => {}
            Some(more) => {
                state.log.charge(now, more, line.window);
                return state.log.sum().saturating_sub(line.amount).min(more);
            }
        }
        0
    }
}

/// Takes something back of a charge: now, the window, when it was charged, and how much.
type Refund = fn(&mut Log, Nanos, Nanos, Nanos, u64);

/// Puts lines into the order in which their accounts are locked.
pub fn in_order(lines: &mut [Line]) {
    lines.sort_by_key(|line| Arc::as_ptr(&line.account).addr());
}

fn charge(line: &Line, state: &mut State, now: Nanos, lease: Lease) -> Nanos {
    match line.kind {
        Kind::Concurrent => {
            state.open.push(Open { lease, reserved: 1, at: 0 });
            return now;
        }
        Kind::Reserved => state.reserved += line.cost,
        Kind::Window => {}
    }
    state.log.charge(now, line.cost, line.window)
}

fn stands(line: &Line, state: &State, now: Nanos, cap: u64) -> Standing {
    let used = if line.kind == Kind::Concurrent { state.open.len() as u64 } else { state.log.sum() };
    let fits = used.saturating_add(line.cost) <= cap;
    let retry = match (fits, line.kind) {
        (true, _) => Some(Duration::ZERO),
        _ if line.cost > line.amount => None,
        // Nobody knows when a request in flight will end.
        (false, Kind::Concurrent) => Some(Duration::from_secs(1)),
        (false, _) => state.log.until_fits(now, line.window, line.cost, cap).or(Some(Duration::from_secs(1))),
    };
    Standing { used, reserved: state.reserved, resets: state.log.leaving(now, line.window), fits, retry }
}
