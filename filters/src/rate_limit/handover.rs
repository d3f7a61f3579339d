//! What another process takes over when it takes this one's place, where this process alone knows it: what was charged
//! within the windows, and what requests in flight hold. Sidecars that share a store leave all of it there.
//!
//! From the moment of [`Limiter::hand_over`] on, the other one decides. Requests that are still in flight here go on
//! settling here as ever, and each settlement is told on as [`News`]. One lock makes that moment one for all accounts:
//! what was settled before it is in the state, and what is settled after it is news.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::{Account, Line};
use super::limiter::Limiter;
use super::log::Nanos;
use super::remote::{Kind, Lease};
use crate::ask::Tenant;

/// Names of requests that this process may still admit after the moment: the other's begin beyond them.
const LATE_LEASES: u64 = 1 << 32;

/// Who is told what becomes of requests in flight. It must not wait.
pub type Tell = crate::heir::Tell<News>;

/// Everything that is known here alone.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    accounts: Vec<Held>,
    /// The first name that is free for a request.
    next_lease: u64,
}

/// One account, with times as ages: processes have no clock in common.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    whose: Whose,
    /// What was charged how long ago, oldest first.
    charges: Vec<(Nanos, u64)>,
    /// Requests in flight, where these are counted.
    open: Vec<u64>,
    reserved: u64,
}

/// An account, as another process finds it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    limit: String,
    key: String,
    tenant: Tenant,
    part: Option<String>,
}

/// What has become of a request that was in flight at the moment, or was admitted after it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    Charged { whose: Whose, lease: u64, cost: u64 },
    Settled { whose: Whose, lease: u64, charged_ago: Nanos, cost: u64, actual: u64 },
}

/// Who is told, once the moment has come.
pub(super) type Heir = crate::heir::Heir<News>;

impl Limiter {
    /// The moment: gives what the other process is to know, and tells it all that comes later.
    pub fn hand_over(&self, tell: Tell) -> State {
        if self.remote.is_some() {
            return State::default();
        }
        let mut heir = self.heir.moment();
        let accounts = self.ledger.accounts();
        let held = accounts.iter().filter_map(|account| self.held(account)).collect();
        *heir = Some(tell);
        State { accounts: held, next_lease: self.lease().0.saturating_add(LATE_LEASES) }
    }

    /// The other process has failed before it answered anybody: this one goes on as if nothing had been.
    pub fn take_back(&self) {
        *self.heir.moment() = None;
    }

    fn held(&self, account: &Arc<Account>) -> Option<Held> {
        let now = self.ledger.now();
        let mut state = account.state();
        state.log.expire(now, account.rule.window);
        let open: Vec<u64> = state.open.iter().map(|open| open.lease.0).collect();
        if state.log.is_empty() && open.is_empty() && state.reserved == 0 {
            return None;
        }
        let ages = state.log.newest(now, u64::MAX).into_iter();
        let charges = ages.map(|(age, amount)| (u64::try_from(age.as_nanos()).unwrap_or(Nanos::MAX), amount));
        Some(Held { whose: whose(account), charges: charges.collect(), open, reserved: state.reserved })
    }

    /// Takes over what another process knew. A limit that has another unit, window or scope now begins anew.
    pub fn inherit(&self, state: State) {
        for held in state.accounts {
            let Some(account) = self.account_of(&held.whose) else { continue };
            let (now, window) = (self.ledger.now(), account.rule.window);
            let mut state = account.state();
            for (age, amount) in held.charges {
                state.log.charge(now.saturating_sub(age), amount, window);
            }
            state.open.extend(held.open.into_iter().map(|lease| super::remote::Open {
                lease: Lease(lease),
                reserved: 1,
                at: 0,
            }));
            state.reserved += held.reserved;
        }
        self.begin_leases_at(state.next_lease);
    }

    /// What the process before this one tells of requests that it still answers.
    pub fn hear(&self, news: News) {
        let (News::Charged { whose, lease, cost } | News::Settled { whose, lease, cost, .. }) = &news;
        let (lease, cost) = (Lease(*lease), *cost);
        let Some(account) = self.account_of(whose) else { return };
        let Some(place) = self.rules.iter().position(|rule| rule.counts_as(&account.rule)) else { return };
        let rule = &self.rules[place];
        let amount = rule.amount(&account.tenant).unwrap_or(u64::MAX);
        let line = Line { rule: place, kind: rule.kind(), account, window: rule.window, amount, cost };
        match news {
            News::Charged { .. } => drop(self.ledger.charge(&line, lease)),
            News::Settled { charged_ago, actual, .. } => {
                let stamp = self.ledger.now().saturating_sub(charged_ago);
                let over = self.ledger.settle_near(&line, stamp, lease, actual);
                self.metrics.overshot(line.rule, over);
            }
        }
    }

    fn account_of(&self, whose: &Whose) -> Option<Arc<Account>> {
        let rule = self.rules.iter().find(|rule| *rule.name == *whose.limit)?;
        let same = rule.key(&whose.tenant, whose.part.as_deref()) == whose.key;
        same.then(|| self.ledger.adopt(whose.key.clone(), rule, whose.tenant, whose.part.clone()))
    }

    /// Tells of what was charged.
    pub(super) fn tell_charged(&self, tell: &Tell, lines: &[Line], lease: Lease) {
        for line in lines {
            tell(News::Charged { whose: whose(&line.account), lease: lease.0, cost: line.cost });
        }
    }

    /// Tells of what was settled. What counts requests alone was spent when it was charged.
    pub(super) fn tell_settled(&self, tell: &Tell, line: &Line, (lease, stamp): (Lease, Nanos), actual: u64) {
        if line.kind == Kind::Window {
            return;
        }
        let (whose, charged_ago) = (whose(&line.account), self.ledger.now().saturating_sub(stamp));
        tell(News::Settled { whose, lease: lease.0, charged_ago, cost: line.cost, actual });
    }
}

fn whose(account: &Account) -> Whose {
    let Account { key, tenant, part, rule, .. } = account;
    Whose { limit: rule.name.to_string(), key: key.to_string(), tenant: *tenant, part: part.clone() }
}

#[cfg(test)]
mod tests;
