//! The room's instruments. Their labels are the limits' names, which are as many as the settings say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::limiter::{Denied, Limiter, Mode};
use super::permit::Permit;
use super::rule::Rule;

pub struct Metrics {
    limits: Vec<Arc<Counts>>,
    modes: Arc<[AtomicU64; 3]>,
}

#[derive(Default)]
struct Counts {
    admitted: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    over: AtomicU64,
    /// Held now.
    reserved: AtomicU64,
}

impl Metrics {
    /// Those of limits that were there before, by their names, go on.
    pub fn new(rules: &[Arc<Rule>], before: Option<&Limiter>) -> Self {
        let counts = |rule: &Arc<Rule>| {
            let limits = before.into_iter().flat_map(|before| before.rules.iter().zip(&before.metrics.limits));
            let known = limits.into_iter().find(|(known, _)| known.name == rule.name);
            known.map(|(_, counts)| counts.clone()).unwrap_or_default()
        };
        let modes = before.map(|before| before.metrics.modes.clone()).unwrap_or_default();
        Metrics { limits: rules.iter().map(counts).collect(), modes }
    }

    pub fn decided(&self, decided: &Result<Permit, Denied>) {
        let (mode, verdicts) = match decided {
            Ok(permit) => (permit.mode, &permit.verdicts),
            Err(denied) => (denied.mode, &denied.verdicts),
        };
        self.modes[mode as usize].fetch_add(1, Ordering::Relaxed);
        for verdict in verdicts {
            let Some(counts) = self.limits.get(verdict.rule) else { continue };
            match (decided, verdict.standing.fits) {
                (Ok(_), _) => counts.admitted.fetch_add(1, Ordering::Relaxed),
                // Only those that did not fit have refused it.
                (Err(_), false) => counts.refused.fetch_add(1, Ordering::Relaxed),
                (Err(_), true) => continue,
            };
        }
        if let Err(Denied { unknown: Some(rule), .. }) = decided
            && let Some(counts) = self.limits.get(*rule)
        {
            counts.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn reserve(&self, rule: usize, amount: u64) {
        if let Some(counts) = self.limits.get(rule) {
            counts.reserved.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn release(&self, rule: usize, amount: u64) {
        if let Some(counts) = self.limits.get(rule) {
            counts.reserved.fetch_sub(amount, Ordering::Relaxed);
        }
    }

    pub fn overshot(&self, rule: usize, over: u64) {
        if let Some(counts) = self.limits.get(rule) {
            counts.over.fetch_add(over, Ordering::Relaxed);
        }
    }

    /// Lets the meter read all of it.
    pub fn observe(limiter: &Arc<Limiter>, meter: &Meter) {
        let read = limiter.newest.clone();
        meter
            .u64_observable_counter("outrigger_rate_limit_decisions")
            .with_description(
                "Requests by limit and what became of them: admitted, refused, or unknown (its store was lost).",
            )
            .with_callback(move |observer| {
                let Some(read) = read.get() else { return };
                for (rule, counts) in read.rules.iter().zip(&read.metrics.limits) {
                    let outcomes =
                        [("admitted", &counts.admitted), ("refused", &counts.refused), ("unknown", &counts.unknown)];
                    for (outcome, count) in outcomes {
                        let labels = [limit(rule), KeyValue::new("outcome", outcome)];
                        observer.observe(count.load(Ordering::Relaxed), &labels);
                    }
                }
            })
            .build();
        let read = limiter.newest.clone();
        meter
            .u64_observable_counter("outrigger_rate_limit_overshoot")
            .with_description("What answers took beyond a limit because they took more than was reserved for them.")
            .with_callback(move |observer| {
                let Some(read) = read.get() else { return };
                for (rule, counts) in read.rules.iter().zip(&read.metrics.limits) {
                    observer.observe(counts.over.load(Ordering::Relaxed), &[limit(rule)]);
                }
            })
            .build();
        let read = limiter.newest.clone();
        meter
            .u64_observable_counter("outrigger_rate_limit_modes")
            .with_description(
                "Requests by whose word decided them: redis, local (there is none), degraded (it is lost).",
            )
            .with_callback(move |observer| {
                let Some(read) = read.get() else { return };
                for (mode, name) in [(Mode::Redis, "redis"), (Mode::Alone, "local"), (Mode::Degraded, "degraded")] {
                    let count = read.metrics.modes[mode as usize].load(Ordering::Relaxed);
                    observer.observe(count, &[KeyValue::new("mode", name)]);
                }
            })
            .build();
        Metrics::observe_accounts(limiter, meter);
    }

    fn observe_accounts(limiter: &Arc<Limiter>, meter: &Meter) {
        let read = limiter.newest.clone();
        meter
            .u64_observable_gauge("outrigger_rate_limit_accounts")
            .with_description("Accounts kept in this process: one for each limit and whoever it counts together.")
            .with_callback(move |observer| {
                observer.observe(read.get().map_or(0, |read| read.ledger.len() as u64), &[]);
            })
            .build();
        let read = limiter.newest.clone();
        meter
            .u64_observable_gauge("outrigger_rate_limit_reserved")
            .with_description("What this process has reserved and not settled yet: tokens, or requests in flight.")
            .with_callback(move |observer| {
                let Some(read) = read.get() else { return };
                for (rule, counts) in read.rules.iter().zip(&read.metrics.limits) {
                    observer.observe(counts.reserved.load(Ordering::Relaxed), &[limit(rule)]);
                }
            })
            .build();
    }
}

fn limit(rule: &Rule) -> KeyValue {
    KeyValue::new("limit", rule.name.to_string())
}
