//! What was spent and what is held of one budget by those who are counted together, in one period.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use serde::{Deserialize, Serialize};

use super::config::WhenLost;
use super::period::{Millis, Span};
use super::rule::{Rule, Who};
use crate::money::Money;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its budget's [`Rule::id`].
    pub rule: usize,
    pub begin: Millis,
    pub who: Who,
}

pub struct Account {
    pub key: Key,
    /// Its budget, as it was when the account was opened: name, period and scope are those of today's.
    pub rule: Arc<Rule>,
    pub span: Span,
    terms: ArcSwap<Terms>,
    /// Its place in Redis, where there is one: the sums, and the reservations.
    pub places: Option<[String; 2]>,
    state: Mutex<State>,
}

/// What the settings say of an account now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub limit: Money,
    /// Calls beyond the limit are refused, and so they reserve.
    pub hard: bool,
    pub when_lost: WhenLost,
    pub warn_at: Money,
}

impl Terms {
    pub fn of(rule: &Rule, limit: Money) -> Self {
        Terms { limit, hard: rule.hard, when_lost: rule.when_lost, warn_at: rule.warn_at.of(limit) }
    }
}

/// How much earlier an answer may be than one before it, in microseconds, if it is only late.
const CLOCK: u64 = 10_000_000;

/// A reservation, told apart from all others of this process.
pub type Lease = u64;

#[derive(Default)]
pub struct State {
    /// By this sidecar in this period, in nano-dollars: it never falls.
    pub spent: u64,
    /// By reservations of this sidecar that are open.
    pub held: u64,
    pub warned: bool,
    pub used: Millis,
    pub shared: Option<Box<Shared>>,
}

/// What stands between this sidecar's own figures and those of all.
#[derive(Default)]
pub struct Shared {
    /// What was spent before this process began. It is told first, so that Redis can say whether it knows of more.
    pub before: u64,
    pub met: bool,
    /// What Redis has of this sidecar's spending.
    pub acknowledged: u64,
    /// The most that Redis has said all have spent: that never falls, either.
    pub total: u64,
    /// How all stood when Redis's word could last be taken for the whole truth.
    pub view: Option<Sums>,
    pub open: HashMap<Lease, Open>,
    /// Reservations that are over, as Redis may have them.
    pub over: Vec<(Lease, u64)>,
    /// Open reservations that Redis is to hear of.
    pub due: Vec<Lease>,
    pub queued: bool,
}

/// An open reservation: what it holds, and what Redis has of it.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub now: u64,
    pub told: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// It is being asked, or gave no answer.
    Asked,
    Amount(u64),
}

/// An account as Redis says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Microseconds on Redis's clock.
    pub at: u64,
    pub total: u64,
    pub held: u64,
    /// What of these is of this sidecar.
    pub own_spent: u64,
    pub own_held: u64,
}

/// Whether Redis's word is the whole truth, or others may still have to tell it something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Whole,
    Partial,
}

impl Account {
    pub fn new(key: Key, rule: &Arc<Rule>, span: Span, terms: Terms, places: Option<[String; 2]>) -> Self {
        let shared = places.is_some().then(Box::default);
        let state = Mutex::new(State { shared, ..State::default() });
        Account { key, rule: rule.clone(), span, terms: ArcSwap::from_pointee(terms), places, state }
    }

    pub fn terms(&self) -> Terms {
        **self.terms.load()
    }

    /// What is spent and held is held against these from now on.
    pub fn set_terms(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
    }

    pub fn limit(&self) -> Money {
        self.terms().limit
    }

    pub fn hard(&self) -> bool {
        self.terms().hard
    }

    pub fn warn_at(&self) -> Money {
        self.terms().warn_at
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reservations are told to Redis where they decide something.
    pub fn leases(&self) -> bool {
        self.hard() && self.places.is_some()
    }
}

impl Shared {
    /// What Redis has of this sidecar's spending, as far as anybody knows: what was spent before was told before.
    pub fn told_spent(&self) -> u64 {
        self.acknowledged.max(if self.met { 0 } else { self.before })
    }

    /// Redis may hold a reservation that nobody has any more.
    pub fn is_over(&mut self, lease: Lease, amount: u64) {
        self.over.push((lease, amount));
    }

    fn told_total(&self) -> u64 {
        self.total.max(self.told_spent())
    }
}

impl State {
    /// What all have spent, as far as this sidecar knows.
    pub fn total(&self) -> u64 {
        match &self.shared {
            None => self.spent,
            Some(shared) => shared.told_total() + self.spent.saturating_sub(shared.told_spent()),
        }
    }

    /// What all hold, as far as this sidecar knows.
    pub fn reserved(&self) -> u64 {
        let others = self
            .shared
            .as_ref()
            .and_then(|shared| shared.view)
            .map_or(0, |view| view.held.saturating_sub(view.own_held));
        self.held.saturating_add(others)
    }

    /// Whether this sidecar may hold so much more without asking anybody. Alone, it knows all. One of several may have
    /// what it had when all was last known, and its part of what was left then: over all of them that is the limit.
    pub fn fits_alone(&self, limit: u64, amount: u64, sidecars: u32) -> bool {
        let mine = self.spent.saturating_add(self.held).saturating_add(amount);
        let Some(shared) = &self.shared else { return mine <= limit };
        let view = shared.view.unwrap_or(Sums {
            total: shared.told_total(),
            own_spent: shared.told_spent(),
            ..Sums::default()
        });
        // Right after a start Redis may know more of this sidecar than its ledger does.
        let mine = mine.saturating_add(view.own_spent.saturating_sub(self.spent));
        let part = limit.saturating_sub(view.total).saturating_sub(view.held) / u64::from(sidecars.max(1));
        mine <= view.own_spent.saturating_add(view.own_held).saturating_add(part)
    }

    /// Spent before this process began.
    pub fn remember(&mut self, amount: u64) {
        self.spent = self.spent.saturating_add(amount).min(Money::MOST.nanos());
        if let Some(shared) = &mut self.shared {
            shared.before = self.spent;
        }
    }

    pub fn spend(&mut self, amount: u64) {
        self.spent = self.spent.saturating_add(amount).min(Money::MOST.nanos());
    }

    pub fn hold(&mut self, amount: u64, now: Millis) {
        self.held = self.held.saturating_add(amount);
        self.used = now;
    }

    /// Keeps the name of what is held, for Redis.
    pub fn open(&mut self, lease: Lease, amount: u64, told: Known) {
        if let Some(shared) = &mut self.shared {
            shared.open.insert(lease, Open { now: amount, told });
        }
    }

    /// What a reservation holds from now on; Redis hears of it.
    pub fn grow(&mut self, lease: Lease, from: u64, to: u64) {
        self.held = self.held.saturating_add(to).saturating_sub(from);
        let Some(shared) = &mut self.shared else { return };
        if let Some(open) = shared.open.get_mut(&lease) {
            if open.told == Known::Amount(open.now) {
                shared.due.push(lease);
            }
            open.now = to;
        }
    }

    /// The end of a reservation: what it held is free, and what was spent is spent, in one step.
    pub fn settle(&mut self, lease: Lease, held: u64, actual: u64) {
        self.held = self.held.saturating_sub(held);
        self.spend(actual);
        let Some(shared) = &mut self.shared else { return };
        let told = match shared.open.remove(&lease) {
            None => return,
            Some(Open { told: Known::Nothing, .. }) => return,
            Some(Open { told: Known::Asked, .. }) => return shared.is_over(lease, held),
            Some(Open { told: Known::Amount(told), .. }) => told,
        };
        shared.over.push((lease, told));
    }

    /// Redis does not hold the reservation, and nor does this sidecar.
    pub fn unhold(&mut self, lease: Lease, amount: u64) {
        self.held = self.held.saturating_sub(amount);
        if let Some(shared) = &mut self.shared {
            shared.open.remove(&lease);
        }
    }

    /// Redis has so much of the reservation. False if it is over meanwhile.
    pub fn place(&mut self, lease: Lease, amount: u64) -> bool {
        let Some(shared) = &mut self.shared else { return false };
        let Some(open) = shared.open.get_mut(&lease) else { return false };
        open.told = Known::Amount(amount);
        if open.now != amount {
            shared.due.push(lease);
        }
        true
    }

    /// Redis holds a reservation that it was asked for and that nobody waited for: true if it is to be ended there.
    pub fn is_over(&mut self, lease: Lease, amount: u64) -> bool {
        let Some(shared) = self.shared.as_mut().filter(|shared| !shared.open.contains_key(&lease)) else {
            return false;
        };
        shared.over.push((lease, amount));
        true
    }

    /// True if the account was not waiting to be told of.
    pub fn queues(&mut self) -> bool {
        self.shared.as_mut().is_some_and(|shared| !std::mem::replace(&mut shared.queued, true))
    }

    /// Redis is to hear of a reservation.
    pub fn is_due(&mut self, lease: Lease) {
        if let Some(shared) = &mut self.shared {
            shared.due.push(lease);
        }
    }

    /// All that is held is to be told.
    pub fn renew(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.due = shared.open.keys().copied().collect();
        }
    }

    pub fn learn(&mut self, sums: Sums, word: Word) {
        let Some(shared) = &mut self.shared else { return };
        shared.total = shared.total.max(sums.total);
        // Answers overtake each other; but a clock that was set back is not waited for.
        let newer = shared.view.is_none_or(|view| sums.at >= view.at || view.at - sums.at > CLOCK);
        if word == Word::Whole && newer {
            shared.view = Some(sums);
        }
    }

    /// True once in the account's life, when so much is spent that it is to be told of.
    pub fn warns(&mut self, warn_at: u64) -> bool {
        let crossed = !self.warned && self.total() >= warn_at;
        self.warned |= crossed;
        crossed
    }

    /// Whether Redis is to hear of something.
    pub fn has_news(&self) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| shared.acknowledged < self.spent || !shared.over.is_empty() || !shared.due.is_empty())
    }

    /// It holds nothing, and nothing is to be told.
    pub fn is_idle(&self) -> bool {
        let told = self.shared.as_ref().is_none_or(|shared| shared.open.is_empty() && !shared.queued);
        self.held == 0 && told && !self.has_news()
    }
}
