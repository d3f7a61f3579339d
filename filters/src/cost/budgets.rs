//! Money that tenants, models, tags or everyone may spend in a day, a week, a month, or in all: no more than that.
//!
//! A call's cost is known at its end, and many run at once. So each reserves before it begins what it may cost, in all
//! of its budgets or in none, and puts in its place at the end what it did cost. A hard budget is not overshot while
//! calls cost no more than they reserved; an answer that outgrows its reservation holds more at once ([`Reservation::grow`]).
//! A soft budget reserves for show, refuses nothing, and is told of.
//!
//! - Without Redis this process decides, exactly: all accounts of a call are locked together, in the order of the budgets.
//! - With Redis all sidecars share the accounts: one script and one round trip for all hard budgets of a call (see
//!   [`shared`]). What was spent is told within 50 ms, until when Redis still holds what was reserved for it: nothing
//!   is free twice.
//! - Without its Redis each sidecar has a share of what was left (see [`together`]), and tells what it has spent when
//!   Redis is back (see [`step`]).
//!
//! A call belongs to the period in which it began, also when it ends in the next. The clock that says so is each
//! sidecar's own: where they differ, for that long some count for the old period and some for the new.

mod account;
mod accounts;
mod background;
mod config;
pub mod handover;
mod meters;
mod period;
mod refused;
mod renewal;
mod report;
mod reservation;
mod rule;
mod shared;
mod step;
mod together;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use opentelemetry::metrics::Meter;

pub use config::{Amount, Budget, Dollars, Name, Scope, Share, WhenLost};
pub use period::{Millis, Period};
pub use refused::{Exceeded, Refused, Why};
pub use reservation::Reservation;
pub use rule::Demand;
pub use shared::Sharing;

use crate::Tenant;
use crate::money::Money;
use crate::newest::Newest;
use crate::tenants::Names;
use account::{Account, Key, Lease, State, Terms};
use accounts::Accounts;
use handover::Heir;
use meters::Meters;
use period::Calendar;
use rule::Rule;
use shared::Remote;

/// What this sidecar has spent before this process began, from its ledger: at one time, or in all of a period.
#[derive(Clone, Debug)]
pub struct Spent {
    /// When the call began: that is the period it belongs to.
    pub at: Millis,
    pub tenant: Tenant,
    pub model: String,
    pub tag: Option<String>,
    pub amount: Money,
}

pub struct Budgets {
    rules: Vec<Arc<Rule>>,
    /// Those of the rules, by their ids, of which nothing is remembered yet.
    fresh: Vec<usize>,
    names: Names,
    kept: Arc<Kept>,
    newest: Arc<Newest<Budgets>>,
}

/// What outlives the settings.
pub struct Kept {
    calendar: Calendar,
    accounts: Accounts,
    remote: Option<Arc<Remote>>,
    meters: Meters,
    leases: AtomicU64,
    /// The id of the next budget that was not there before.
    next: AtomicUsize,
    /// Accounts of which there is something to tell.
    news: Mutex<Vec<Arc<Account>>>,
    flushing: tokio::sync::Mutex<()>,
    heir: Heir,
    /// Whether this one goes on where another process was, under its name.
    follows: AtomicBool,
    /// Replaces the clock where it is not 0.
    clock: AtomicI64,
}

impl Deref for Budgets {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.kept
    }
}

impl Budgets {
    /// # Errors
    /// The path of a key below `cost`, and what is wrong there.
    pub fn new(
        configs: &[Budget],
        zone: TimeZone,
        names: &Names,
        sharing: Option<Sharing>,
        meter: &Meter,
    ) -> Result<Arc<Self>, (String, String)> {
        let rules: Vec<_> = rule::rules(configs, names)?.into_iter().map(Arc::new).collect();
        let kept = Arc::new(Kept {
            calendar: Calendar::new(zone),
            accounts: Accounts::new(accounts::MOST),
            remote: sharing.map(|sharing| Arc::new(Remote::new(sharing))),
            meters: Meters::new(meter),
            leases: AtomicU64::new(1),
            next: AtomicUsize::new(rules.len()),
            news: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
            heir: Heir::default(),
            follows: AtomicBool::new(false),
            clock: AtomicI64::new(0),
        });
        let budgets = Arc::new_cyclic(|me| Budgets {
            fresh: rules.iter().map(|rule| rule.id).collect(),
            names: names.clone(),
            newest: Newest::of(me),
            kept,
            rules,
        });
        Meters::observe(&budgets, meter);
        Ok(budgets)
    }

    /// # Errors
    /// The path of a key below `cost`, and what is wrong there.
    pub fn check(configs: &[Budget], names: &Names) -> Result<(), (String, String)> {
        rule::rules(configs, names).map(drop)
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any budget refuses: only then is it worth knowing beforehand what a call may cost.
    pub fn has_hard(&self) -> bool {
        self.rules.iter().any(|rule| rule.hard)
    }

    /// Where an account's budget stands among those of now.
    fn place(&self, account: &Account) -> Option<usize> {
        self.rules.iter().position(|rule| rule.id == account.key.rule)
    }

    /// Replaces the clock; 0 gives it back. For tests: nobody can wait for the next month.
    pub fn set_clock(&self, now: Millis) {
        self.clock.store(now, Ordering::Relaxed);
    }

    fn now(&self) -> Millis {
        match self.clock.load(Ordering::Relaxed) {
            0 => Timestamp::now().as_millisecond(),
            set => set,
        }
    }

    /// Where the periods begin that are not over: what is to be remembered of the time before this process has to be told
    /// apart there, and what was before the first counts no more. A budget that never begins anew begins at 0.
    pub fn begins(&self) -> BTreeSet<Millis> {
        let now = self.now();
        let fresh = self.rules.iter().filter(|rule| self.fresh.contains(&rule.id));
        let begin = |rule: &Arc<Rule>| match rule.period {
            Period::Total => 0,
            period => period.span(now, &self.calendar.zone).begin,
        };
        fresh.map(begin).collect()
    }

    /// What this sidecar has spent before, by its ledger. Before anything else is asked.
    pub fn load(&self, spent: impl Iterator<Item = Spent>) {
        let now = self.now();
        for Spent { at, tenant, model, tag, amount } in spent {
            let demand = Demand { tenant, model: &model, tag: tag.as_deref() };
            for account in self.accounts_of(&demand, now) {
                if account.span.contains(at) && self.fresh.contains(&account.key.rule) {
                    let mut state = account.state();
                    state.remember(amount.nanos());
                    // What was told of before is not told of again.
                    state.warns(account.warn_at().nanos());
                }
            }
        }
    }

    /// Holds what a call may cost in all of its budgets, or in none.
    ///
    /// # Errors
    /// A hard budget does not hold it, or is closed while it cannot be asked.
    pub async fn reserve(self: &Arc<Self>, who: &Demand<'_>, amount: Money) -> Result<Reservation, Refused> {
        let accounts = self.accounts_of(who, self.now());
        let outcome = match &self.remote {
            Some(remote) if accounts.iter().any(|account| account.hard()) => {
                self.reserve_together(&remote.clone(), accounts, amount.nanos()).await
            }
            _ => self.reserve_exactly(accounts, amount.nanos()),
        };
        outcome.inspect_err(|refused| self.meters.refused(refused.budget()))
    }

    fn accounts_of(&self, who: &Demand<'_>, now: Millis) -> Vec<Arc<Account>> {
        let account = |rule: &Arc<Rule>| {
            let limit = rule.amount(&who.tenant)?;
            let (key, span) = (rule.who(who)?, self.calendar.span(rule.period, now));
            let key = Key { rule: rule.id, begin: span.begin, who: key };
            let terms = Terms::of(rule, limit);
            let account = self.accounts.get(key, |key| self.open(key, rule, span, terms));
            // Opened by a request under earlier settings, after these had taken over.
            if account.terms() != terms && account.key.who != rule::Who::Others && self.newest.is(self) {
                account.set_terms(terms);
            }
            Some(account)
        };
        self.rules.iter().filter_map(account).collect()
    }

    /// A new account, of one of the rules.
    fn open(&self, key: Key, rule: &Arc<Rule>, span: period::Span, terms: Terms) -> Account {
        let terms = if key.who == rule::Who::Others { Terms::of(rule, rule.amount) } else { terms };
        let places = |remote: &Arc<Remote>| remote.places(&rule.name, span, &rule.digest(&key.who));
        let places = self.remote.as_ref().map(places);
        Account::new(key, rule, span, terms, places)
    }

    fn lease(&self) -> Lease {
        self.leases.fetch_add(1, Ordering::Relaxed)
    }

    /// All is known here, or nothing can be refused.
    fn reserve_exactly(self: &Arc<Self>, accounts: Vec<Arc<Account>>, amount: u64) -> Result<Reservation, Refused> {
        let now = self.now();
        let heir = self.heir.now();
        {
            // Always in the order of the budgets, so that no two wait for each other.
            let mut states: Vec<MutexGuard<'_, State>> = accounts.iter().map(|account| account.state()).collect();
            for (account, state) in accounts.iter().zip(&states).filter(|(account, _)| account.hard()) {
                if !state.fits_alone(account.limit().nanos(), amount, 1) {
                    return Err(self.exceeded(account, state, amount, Why::Spent).into());
                }
            }
            for state in &mut states {
                state.hold(amount, now);
            }
        }
        if let Some(tell) = &*heir {
            self.tell_held(tell, &accounts, (0, amount));
        }
        Ok(Reservation::of(self, accounts, self.lease(), amount))
    }

    fn exceeded(&self, account: &Account, state: &State, requested: u64, why: Why) -> Exceeded {
        let rule = &account.rule;
        Exceeded {
            budget: rule.name.clone(),
            scope: rule.scope.name(),
            period: rule.period.name(),
            why: if requested > account.limit().nanos() { Why::Larger } else { why },
            amount: account.limit(),
            spent: Money::from_nanos(state.total()),
            reserved: Money::from_nanos(state.reserved()),
            requested: Money::from_nanos(requested),
            ends: (account.span != period::Span::ALL).then_some(account.span.end),
        }
    }

    /// What is spent in the current period, over all accounts of each budget.
    fn spent(&self) -> Vec<Money> {
        let now = self.now();
        let mut sums = vec![Money::ZERO; self.rules.len()];
        self.accounts.each(|account| {
            if account.span.contains(now)
                && let Some(place) = self.place(account)
            {
                sums[place] += Money::from_nanos(account.state().total());
            }
        });
        sums
    }

    fn warn(&self, account: &Account) {
        let rule = &account.rule;
        self.meters.warned(&rule.name);
        let spent = Money::from_nanos(account.state().total());
        let tenant = match &account.key.who {
            rule::Who::Of { tenant: Some(tenant), .. } => self.names.of(tenant),
            _ => "-".to_owned(),
        };
        tracing::warn!(
            budget = %rule.name, period = rule.period.name(), tenant, spent_usd = %spent, amount_usd = %account.limit(),
            "much of a budget is spent"
        );
    }

    /// Redis is to hear of an account soon.
    fn queue(&self, account: &Arc<Account>) {
        if account.state().queues() {
            self.news.lock().unwrap_or_else(PoisonError::into_inner).push(account.clone());
        }
    }

    /// … and of all that is held in it.
    fn renew(&self, account: &Arc<Account>) {
        account.state().renew();
        self.queue(account);
    }
}

#[cfg(test)]
mod tests;
