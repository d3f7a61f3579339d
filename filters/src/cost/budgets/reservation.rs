//! Money that is held for one call, until it is known what it cost. Dropped, it is free again.

use std::sync::Arc;

use super::Budgets;
use super::account::{Account, Known, Lease};
use crate::money::Money;

pub struct Reservation {
    budgets: Arc<Budgets>,
    pub(super) accounts: Vec<Arc<Account>>,
    /// Those of them of which Redis holds it, whatever becomes of the budgets meanwhile.
    pub(super) leased: Vec<Arc<Account>>,
    pub(super) lease: Lease,
    pub(super) held: u64,
    /// What is spent if nobody settles it: what is known of a call that may be cut off at any moment.
    pub spent_if_dropped: Money,
}

impl Reservation {
    /// What is held already.
    pub(super) fn of(budgets: &Arc<Budgets>, accounts: Vec<Arc<Account>>, lease: Lease, held: u64) -> Self {
        let leased = accounts.iter().filter(|account| account.leases()).cloned().collect();
        Reservation { budgets: budgets.clone(), accounts, leased, lease, held, spent_if_dropped: Money::ZERO }
    }

    pub fn held(&self) -> Money {
        Money::from_nanos(self.held)
    }

    /// Puts what the call has cost in the place of what was held for it.
    pub fn settle(mut self, actual: Money) {
        self.spent_if_dropped = actual;
    }

    /// Holds more: the answer has outgrown its reservation. Never refuses, and never holds less.
    pub fn grow(&mut self, to: Money) {
        let to = to.nanos();
        if to <= self.held {
            return;
        }
        let heir = self.budgets.heir.now();
        for account in &self.accounts {
            account.state().grow(self.lease, self.held, to);
        }
        self.leased.iter().for_each(|account| self.budgets.queue(account));
        if let Some(tell) = &*heir {
            self.budgets.tell_held(tell, &self.accounts, (self.held, to));
        }
        self.held = to;
    }

    /// Gives back what was held here, where Redis holds nothing of it.
    pub(super) fn annul(mut self) {
        for account in self.accounts.drain(..) {
            account.state().unhold(self.lease, self.held);
        }
    }

    /// Redis holds it, or shall hold it.
    pub(super) fn place(&self) {
        for account in &self.leased {
            account.state().place(self.lease, self.held);
        }
    }

    /// Redis is to hear of it. One that is away will hear of all that is held when it is back.
    pub(super) fn tell(&self) {
        if self.budgets.remote.as_ref().is_none_or(|remote| remote.store.epoch().is_none()) {
            return;
        }
        for account in &self.leased {
            account.state().is_due(self.lease);
            self.budgets.queue(account);
        }
    }

    /// Names what is held, for Redis.
    pub(super) fn open(&self, told: Known) {
        for account in &self.leased {
            account.state().open(self.lease, self.held, told);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let actual = self.spent_if_dropped.nanos();
        let heir = self.budgets.heir.now();
        for account in &self.accounts {
            if let Some(tell) = &*heir {
                self.budgets.tell_settled(tell, account, (self.held, actual));
            }
            let (news, warns) = {
                let mut state = account.state();
                state.settle(self.lease, self.held, actual);
                (state.has_news(), state.warns(account.warn_at().nanos()))
            };
            if news {
                self.budgets.queue(account);
            }
            if warns {
                self.budgets.warn(account);
            }
        }
    }
}
