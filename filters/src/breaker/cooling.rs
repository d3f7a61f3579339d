//! The pauses that a backend has asked for with Retry-After: by everybody, or by the one tenant whose key it was.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::Tenant;

/// Tenants that may be paused at once; beyond, the oldest pauses are given up.
const MOST_TENANTS: usize = 10_000;

#[derive(Debug, Default)]
pub struct Cooling {
    all: Mutex<Option<Instant>>,
    tenants: DashMap<Tenant, Instant>,
    /// As many as `tenants` has, so that nobody looks there for nothing.
    count: AtomicUsize,
}

impl Cooling {
    pub fn pause(&self, whom: Option<Tenant>, pause: Duration, now: Instant) {
        let until = now + pause;
        match whom {
            None => {
                let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
                *all = Some(all.map_or(until, |earlier| earlier.max(until)));
            }
            Some(tenant) => {
                if self.tenants.len() >= MOST_TENANTS {
                    self.tenants.retain(|_, until| now < *until);
                }
                if self.tenants.len() < MOST_TENANTS {
                    self.tenants.insert(tenant, until);
                }
                self.count.store(self.tenants.len(), Ordering::Release);
            }
        }
    }

    /// Until when this tenant is not to ask, if it is not.
    pub fn until(&self, tenant: &Tenant, now: Instant) -> Option<Instant> {
        let all = *self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let own = || match self.count.load(Ordering::Acquire) {
            0 => None,
            _ => self.tenants.get(tenant).map(|until| *until),
        };
        all.into_iter().chain(own()).filter(|until| now < *until).max()
    }

    /// Until when nobody is to ask.
    pub fn for_all(&self, now: Instant) -> Option<Instant> {
        (*self.all.lock().unwrap_or_else(PoisonError::into_inner)).filter(|until| now < *until)
    }

    /// Tenants that are paused now.
    pub fn tenants(&self, now: Instant) -> usize {
        if self.count.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.tenants.retain(|_, until| now < *until);
        self.count.store(self.tenants.len(), Ordering::Release);
        self.tenants.len()
    }

    /// How much longer everybody is paused, and single tenants.
    pub fn saved(&self, now: Instant) -> (Option<Duration>, Vec<(Tenant, Duration)>) {
        let left = |until: Instant| until.saturating_duration_since(now);
        let tenants = self.tenants.iter().map(|paused| (*paused.key(), left(*paused.value())));
        (self.for_all(now).map(left), tenants.filter(|(_, pause)| !pause.is_zero()).collect())
    }

    pub fn forget(&self) {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tenants.clear();
        self.count.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_for_one_tenant_is_nobody_elses() {
        let (cooling, now) = (Cooling::default(), Instant::now());
        let (one, other) = (Tenant::of(b"a"), Tenant::of(b"b"));
        cooling.pause(Some(one), Duration::from_secs(2), now);
        assert!(cooling.until(&one, now).is_some() && cooling.until(&other, now).is_none());
        assert!(cooling.until(&one, now + Duration::from_secs(2)).is_none(), "and it ends");
        cooling.pause(None, Duration::from_secs(5), now);
        cooling.pause(None, Duration::from_secs(1), now);
        assert_eq!(cooling.until(&other, now), Some(now + Duration::from_secs(5)), "the longest counts");
    }

    #[tokio::test(start_paused = true)]
    async fn invented_tenants_do_not_fill_the_memory() {
        let (cooling, now) = (Cooling::default(), Instant::now());
        for number in 0..MOST_TENANTS as u32 + 100 {
            cooling.pause(Some(Tenant::of(&number.to_le_bytes())), Duration::from_secs(1), now);
        }
        assert_eq!(cooling.tenants(now), MOST_TENANTS);
        assert_eq!(cooling.tenants(now + Duration::from_secs(1)), 0);
    }
}
