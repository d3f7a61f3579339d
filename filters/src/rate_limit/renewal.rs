//! The same limiter under newer settings: what was charged, and what requests in flight hold, stays.
//!
//! An account is known by its limit's name, unit, window and scope, so a limit that changes only its amount, its overrides or
//! what it does without its store goes on with the same charges. A request that was admitted before settles into the
//! account that requests see which come after.

use std::sync::Arc;

use super::guard::Guard;
use super::limit::Config;
use super::limiter::Limiter;
use super::metrics::Metrics;
use super::rule::rules;
use crate::tenants::Names;

impl Limiter {
    /// What this one becomes under these settings. Nothing has changed yet: see [`Limiter::take_over`].
    ///
    /// # Errors
    /// The path of a key below `rate_limit`, and what is wrong there.
    pub fn renewed(&self, config: &Config, names: Names) -> Result<Arc<Self>, (String, String)> {
        let rules = rules(config, &names, self.remote.as_ref().map(|remote| remote.store().prefix()))?;
        let metrics = Metrics::new(&rules, Some(self));
        let guard = match self.guard.is_by(&config.guard) {
            true => self.guard.clone(),
            false => Arc::new(Guard::new(&config.guard)),
        };
        Ok(Arc::new_cyclic(|me| Limiter {
            ledger: self.ledger.clone(),
            remote: self.remote.clone(),
            step: self.step.clone(),
            heir: self.heir.clone(),
            leases: self.leases.clone(),
            newest: self.newest.clone(),
            me: me.clone(),
            guard,
            metrics,
            names,
            rules,
        }))
    }

    /// From now on this one holds.
    pub fn take_over(self: &Arc<Self>) {
        self.newest.set(self);
        self.ledger.keep(|account| {
            // What the store said when another amount was asked for is not repeated.
            account.state().full = None;
            self.rules.iter().any(|rule| rule.counts_as(&account.rule))
        });
    }

    /// The one that holds now, of all that were made from this.
    pub(super) fn now_holds(self: &Arc<Self>) -> Arc<Self> {
        self.newest.get().unwrap_or_else(|| self.clone())
    }
}

#[cfg(test)]
mod tests;
