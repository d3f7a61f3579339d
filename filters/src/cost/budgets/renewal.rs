//! The same budgets under newer settings: what was spent and what is held stays, in a budget of the same name, period and
//! scope. Its amount may change: then what is spent is held against the new one at once. A budget that is new counts from
//! what the ledger knows of its period.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Budgets;
use super::account::{Account, Terms};
use super::config::Budget;
use super::rule::{self, Rule, Who};
use crate::tenants::Names;

impl Budgets {
    /// What these become under such settings. Nothing has changed yet: see [`Budgets::take_over`].
    ///
    /// # Errors
    /// The path of a key below `cost`, and what is wrong there.
    pub fn renewed(&self, configs: &[Budget], names: &Names) -> Result<Arc<Self>, (String, String)> {
        let mut fresh = Vec::new();
        let mut know = |mut rule: Rule| {
            rule.id = match self.rules.iter().find(|known| known.counts_as(&rule)) {
                Some(known) => known.id,
                None => self.next.fetch_add(1, Ordering::Relaxed),
            };
            if self.rules.iter().all(|known| known.id != rule.id) {
                fresh.push(rule.id);
            }
            Arc::new(rule)
        };
        let rules = rule::rules(configs, names)?.into_iter().map(&mut know).collect();
        let (kept, newest) = (self.kept.clone(), self.newest.clone());
        Ok(Arc::new(Budgets { rules, fresh, names: names.clone(), kept, newest }))
    }

    /// Whether any of them is to be told what was spent before it was there.
    pub fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// From now on these hold.
    pub fn take_over(self: &Arc<Self>) {
        self.newest.set(self);
        self.accounts.keep(|account| {
            let Some(rule) = self.rules.iter().find(|rule| rule.id == account.key.rule) else { return false };
            self.bring_up_to_date(rule, account);
            true
        });
    }

    fn bring_up_to_date(&self, rule: &Rule, account: &Account) {
        let tenant = match &account.key.who {
            Who::Of { tenant, .. } => tenant.as_ref(),
            Who::Others => None,
        };
        // One that is not limited any more is not asked for either.
        let Some(limit) = tenant.map_or(Some(rule.amount), |tenant| rule.amount(tenant)) else { return };
        let terms = Terms::of(rule, limit);
        if account.terms() == terms {
            return;
        }
        account.set_terms(terms);
        let mut state = account.state();
        // What is told of is told of once more where the share is another one now and not reached yet.
        state.warned &= state.total() >= terms.warn_at.nanos();
    }
}

#[cfg(test)]
mod tests;
