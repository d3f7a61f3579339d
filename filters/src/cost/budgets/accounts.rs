//! All accounts of this process, as many as are allowed. Tenants and tags can be invented, and memory can not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use super::account::{Account, Key};
use super::period::Millis;
use super::rule::Who;

/// Beyond it, newcomers of one budget and period share one account.
pub const MOST: usize = 200_000;
/// How long an account is kept in which nobody has spent anything, and how long one of a past period.
const UNUSED: Millis = 60_000;
const PAST: Millis = 3_600_000;

pub struct Accounts {
    map: DashMap<Key, Arc<Account>>,
    count: AtomicUsize,
    most: AtomicUsize,
}

impl Accounts {
    pub fn new(most: usize) -> Self {
        Accounts { map: DashMap::new(), count: AtomicUsize::new(0), most: AtomicUsize::new(most) }
    }

    #[cfg(test)]
    pub fn at_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The account of this key, made where there is none yet.
    pub fn get(&self, mut key: Key, make: impl FnOnce(Key) -> Account) -> Arc<Account> {
        if let Some(known) = self.map.get(&key) {
            return known.clone();
        }
        if self.count.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            key.who = Who::Others;
        }
        let made = || {
            self.count.fetch_add(1, Ordering::Relaxed);
            Arc::new(make(key.clone()))
        };
        self.map.entry(key.clone()).or_insert_with(made).clone()
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub fn each(&self, mut see: impl FnMut(&Arc<Account>)) {
        self.map.iter().for_each(|entry| see(entry.value()));
    }

    /// Lets go those for which this does not hold.
    pub fn keep(&self, mut holds: impl FnMut(&Arc<Account>) -> bool) {
        self.map.retain(|_, account| {
            let kept = holds(account);
            if !kept {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            kept
        });
    }

    /// Forgets accounts of past periods, and those that nobody has ever spent from. What is held is never forgotten.
    pub fn forget(&self, now: Millis) {
        self.keep(|account| {
            let past = account.span.end.saturating_add(PAST) <= now;
            let state = account.state();
            let unused = state.total() == 0 && state.used.saturating_add(UNUSED) <= now;
            // Nobody can come to have it meanwhile: that takes the map, too.
            !(past || unused) || !state.is_idle() || Arc::strong_count(account) > 1
        });
    }
}
