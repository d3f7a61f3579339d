//! What another process takes over of the budgets when it takes this one's place: what is spent, and what is held.
//!
//! Both go by one name to Redis, where each tells what all in all was spent under it, which only rises; so the one that takes
//! over counts what this one still spends as well ([`News`]). What calls in flight hold there stays this one's to end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::Budgets;
use super::account::{Account, Key, Sums, Terms};
use super::period::{Millis, Period, Span};
use super::rule::Who;

/// Who is told what calls in flight come to. It must not wait.
pub type Tell = crate::heir::Tell<News>;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Its name to Redis.
    sidecar: Option<String>,
    accounts: Vec<Held>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    whose: Whose,
    spent: u64,
    held: u64,
    warned: bool,
    shared: Option<Shared>,
}

/// What was known of Redis.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Shared {
    before: u64,
    met: bool,
    acknowledged: u64,
    total: u64,
    view: Option<Sums>,
}

/// An account, as another process finds it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    budget: String,
    /// When its period began, if it is not all time.
    begin: Option<Millis>,
    who: Who,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// More is held, or less.
    Held { whose: Whose, from: u64, to: u64 },
    /// A call is over: what it held is free, and what it cost is spent.
    Settled { whose: Whose, held: u64, actual: u64 },
}

/// Who is told, once the moment has come.
pub(super) type Heir = crate::heir::Heir<News>;

impl Budgets {
    /// The moment: gives what the other process is to know, and tells it all that comes later.
    pub fn hand_over(&self, tell: Tell) -> State {
        let mut heir = self.heir.moment();
        let mut held = Vec::new();
        self.accounts.each(|account| held.extend(self.held(account)));
        *heir = Some(tell);
        State { sidecar: self.sidecar(), accounts: held }
    }

    /// The other process has failed before it answered anybody.
    pub fn take_back(&self) {
        *self.heir.moment() = None;
    }

    fn held(&self, account: &Account) -> Option<Held> {
        let whose = self.whose(account)?;
        let state = account.state();
        let shared = state.shared.as_ref().map(|shared| Shared {
            before: shared.before,
            met: shared.met,
            acknowledged: shared.acknowledged,
            total: shared.total,
            view: shared.view,
        });
        Some(Held { whose, spent: state.spent, held: state.held, warned: state.warned, shared })
    }

    /// None where no budget of now counts it.
    fn whose(&self, account: &Account) -> Option<Whose> {
        let rule = &self.rules[self.place(account)?];
        let begin = (account.span != Span::ALL).then_some(account.key.begin);
        Some(Whose { budget: rule.name.to_string(), begin, who: account.key.who.clone() })
    }

    /// Takes over what another process knew, in the place of what the ledger said of it. A budget that is not there any
    /// more, or has another period now, begins with what the ledger says.
    pub fn inherit(&self, inherited: State) {
        // Where each has a name of its own, each tells Redis its own, too.
        let same = self.sidecar() == inherited.sidecar;
        self.follows.store(same, Ordering::Release);
        for held in inherited.accounts.into_iter().filter(|_| same) {
            let Some(account) = self.account_of(&held.whose) else { continue };
            let mut state = account.state();
            (state.spent, state.warned) = (held.spent, held.warned);
            match (&mut state.shared, held.shared) {
                (Some(shared), Some(known)) => {
                    (shared.before, shared.met) = (known.before, known.met);
                    (shared.acknowledged, shared.total, shared.view) = (known.acknowledged, known.total, known.view);
                }
                (Some(shared), None) => shared.before = held.spent,
                (None, _) => state.held += held.held,
            }
            drop(state);
            self.queue(&account);
        }
    }

    /// What the process before this one tells of calls that it still makes.
    pub fn hear(&self, news: News) {
        let (News::Held { whose, .. } | News::Settled { whose, .. }) = &news;
        let Some(account) = self.account_of(whose).filter(|_| self.follows.load(Ordering::Acquire)) else { return };
        let mut state = account.state();
        // What it holds in Redis it ends there itself.
        let is_shared = state.shared.is_some();
        match news {
            News::Held { .. } if is_shared => {}
            News::Held { from, to, .. } => state.held = state.held.saturating_add(to).saturating_sub(from),
            News::Settled { held, actual, .. } => {
                state.spend(actual);
                if !is_shared {
                    state.held = state.held.saturating_sub(held);
                }
            }
        }
        let (news, warns) = (state.has_news(), state.warns(account.warn_at().nanos()));
        drop(state);
        if news {
            self.queue(&account);
        }
        if warns {
            self.warn(&account);
        }
    }

    fn sidecar(&self) -> Option<String> {
        self.remote.as_ref().map(|remote| remote.sidecar().to_owned())
    }

    fn account_of(&self, whose: &Whose) -> Option<Arc<Account>> {
        let rule = self.rules.iter().find(|rule| *rule.name == *whose.budget)?;
        let span = whose.begin.map_or(Span::ALL, |begin| rule.period.span(begin, &self.calendar.zone));
        if (rule.period == Period::Total) != whose.begin.is_none() || whose.begin.is_some_and(|at| at != span.begin) {
            return None;
        }
        let key = Key { rule: rule.id, begin: span.begin, who: whose.who.clone() };
        let limit = match &whose.who {
            Who::Of { tenant: Some(tenant), .. } => rule.amount(tenant)?,
            _ => rule.amount,
        };
        let terms = Terms::of(rule, limit);
        Some(self.accounts.get(key, |key| self.open(key, rule, span, terms)))
    }

    pub(super) fn tell_held(&self, tell: &Tell, accounts: &[Arc<Account>], (from, to): (u64, u64)) {
        accounts
            .iter()
            .filter_map(|account| self.whose(account))
            .for_each(|whose| tell(News::Held { whose, from, to }));
    }

    pub(super) fn tell_settled(&self, tell: &Tell, account: &Account, (held, actual): (u64, u64)) {
        if let Some(whose) = self.whose(account) {
            tell(News::Settled { whose, held, actual });
        }
    }
}

#[cfg(test)]
mod tests;
