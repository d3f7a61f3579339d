//! What the room measures: tokens and money by model, money by tenant, and what was saved.

mod billable;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use billable::Billable;
use dashmap::DashMap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Meter};

use crate::charge::{Saver, Source};
use crate::labels::{self, Series};
use crate::money::Money;
use crate::tenants::Names;
use crate::usage::Tokens;
use crate::{Ask, Tenant};

/// Buckets of the conventions.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// Tenants told apart; those that the operator has named come first, the rest are `_OTHER`.
const MAX_TENANTS: usize = 100;

pub struct Meters {
    models: Series<Model>,
    tokens: [Kinds; 2],
    tenants: Arc<Tenants>,
    saved: [Saved; 2],
}

/// The instruments of one route and model.
struct Model {
    billable: Billable,
    input: BoundHistogram<f64>,
    output: BoundHistogram<f64>,
    cost: BoundCounter<f64>,
    unpriced: BoundCounter<u64>,
}

/// Counters of every kind of token, of one source.
struct Kinds([BoundCounter<u64>; KINDS.len()]);

const KINDS: [&str; 8] =
    ["input", "cached_input", "cache_write", "audio_input", "output", "reasoning", "audio_output", "image"];

fn kinds(tokens: &Tokens) -> [u64; KINDS.len()] {
    [
        tokens.input,
        tokens.cached_input,
        tokens.cache_writes,
        tokens.audio_input,
        tokens.output,
        tokens.reasoning,
        tokens.audio_output,
        tokens.image_input + tokens.image_output,
    ]
}

struct Saved {
    calls: BoundCounter<u64>,
    input: BoundCounter<u64>,
    output: BoundCounter<u64>,
    cost: BoundCounter<f64>,
}

/// What each tenant has spent, in nano-dollars.
#[derive(Default)]
struct Tenants {
    spent: DashMap<Tenant, Arc<Spent>>,
    named: ArcSwap<HashMap<Tenant, String>>,
    others: Arc<Spent>,
}

#[derive(Default)]
struct Spent {
    name: String,
    nanos: AtomicU64,
}

impl Meters {
    pub fn new(meter: &Meter, names: &Names) -> Self {
        let tenants = Arc::new(Tenants::new(names));
        tenants.observe(meter);
        let counter = |name: &'static str, words: &'static str| meter.u64_counter(name).with_description(words).build();
        let usd = |name: &'static str, words: &'static str| meter.f64_counter(name).with_description(words).build();
        let usage = meter
            .f64_histogram("gen_ai.client.token.usage")
            .with_unit("{token}")
            .with_description("Tokens of one call, read and written.")
            .with_boundaries(TOKENS.to_vec())
            .build();
        let billable = billable::Counters::new(meter);
        let cost = usd("outrigger_cost_usd", "Money that calls have cost, in dollars.");
        let unpriced = counter("outrigger_cost_unpriced_calls", "Calls of models that no price is known of.");
        let tokens = counter("outrigger_tokens", "Tokens by kind, and by whose count they are.");
        let calls = counter("outrigger_saved_calls", "Calls that were not made, by what saved them.");
        let saved = counter("outrigger_saved_tokens", "Tokens of calls that were not made, by what saved them.");
        let saved_usd = usd("outrigger_saved_usd", "What calls would have cost that were not made, in dollars.");
        Meters {
            models: Series::new(move |labels| {
                let typed = |kind| usage.bind(&with(&labels, "gen_ai.token.type", kind));
                let (input, output) = (typed("input"), typed("output"));
                let billable = billable.of(&labels);
                Model { billable, input, output, cost: cost.bind(&labels), unpriced: unpriced.bind(&labels) }
            }),
            tokens: ["measured", "estimated"].map(|source| Kinds::new(&tokens, source)),
            tenants,
            saved: ["cache", "dedup"].map(|by| {
                let by = KeyValue::new("by", by);
                let typed = |kind| saved.bind(&[by.clone(), KeyValue::new("type", kind)]);
                let by = std::slice::from_ref(&by);
                Saved {
                    calls: calls.bind(by),
                    input: typed("input"),
                    output: typed("output"),
                    cost: saved_usd.bind(by),
                }
            }),
        }
    }

    /// From now on tenants have these names.
    pub fn rename(&self, names: &Names) {
        self.tenants.rename(names);
    }

    pub fn paid(&self, ask: &Ask, tokens: &Tokens, cost: Option<Money>, source: Source) {
        let model = self.models.of(ask, true);
        let [measured, estimated] = &self.tokens;
        match source {
            Source::Measured => {
                measured.add(tokens);
                // The conventions want no guesses.
                model.billable.add(tokens);
                model.input.record(tokens.input as f64);
                model.output.record(tokens.output as f64);
            }
            Source::Estimated => estimated.add(tokens),
        }
        match cost {
            Some(cost) => {
                model.cost.add(cost.usd());
                self.tenants.spent(&ask.tenant, cost);
            }
            None => model.unpriced.add(1),
        }
    }

    pub fn saved(&self, by: Saver, tokens: &Tokens, each: Option<Money>, calls: u64) {
        let [cache, dedup] = &self.saved;
        let saved = match by {
            Saver::Cache => cache,
            Saver::Dedup => dedup,
        };
        saved.calls.add(calls);
        saved.input.add(tokens.input.saturating_mul(calls));
        saved.output.add(tokens.output.saturating_mul(calls));
        saved.cost.add(each.unwrap_or_default().usd() * calls as f64);
    }
}

impl Kinds {
    fn new(tokens: &Counter<u64>, source: &'static str) -> Self {
        Kinds(KINDS.map(|kind| tokens.bind(&[KeyValue::new("type", kind), KeyValue::new("source", source)])))
    }

    fn add(&self, tokens: &Tokens) {
        for (counter, count) in self.0.iter().zip(kinds(tokens)) {
            if count > 0 {
                counter.add(count);
            }
        }
    }
}

impl Tenants {
    fn new(names: &Names) -> Self {
        let named = ArcSwap::from_pointee(named(names));
        let others = Arc::new(Spent { name: labels::OTHER.to_owned(), ..Spent::default() });
        Tenants { spent: DashMap::new(), named, others }
    }

    fn spent(&self, tenant: &Tenant, cost: Money) {
        let spent = self.spent.get(tenant).map(|known| known.clone()).unwrap_or_else(|| self.enter(tenant));
        spent.nanos.fetch_add(cost.nanos(), Ordering::Relaxed);
    }

    fn enter(&self, tenant: &Tenant) -> Arc<Spent> {
        let named = self.named.load();
        let name = match named.get(tenant) {
            Some(name) => name.clone(),
            // Room is left for those that have names.
            None if self.spent.len() + named.len() < MAX_TENANTS => tenant.to_string(),
            None => return self.others.clone(),
        };
        self.spent.entry(*tenant).or_insert_with(|| Arc::new(Spent { name, ..Spent::default() })).clone()
    }

    /// Who has another name now goes on under it with what he has spent.
    fn rename(&self, names: &Names) {
        let named = named(names);
        for mut spent in self.spent.iter_mut() {
            let name = named.get(spent.key()).cloned().unwrap_or_else(|| spent.key().to_string());
            if spent.name != name {
                let nanos = AtomicU64::new(spent.nanos.load(Ordering::Relaxed));
                *spent = Arc::new(Spent { name, nanos });
            }
        }
        self.named.store(Arc::new(named));
    }

    fn observe(self: &Arc<Self>, meter: &Meter) {
        let tenants = Arc::downgrade(self);
        meter
            .f64_observable_counter("outrigger_tenant_cost_usd")
            .with_description(
                "Money that calls have cost, in dollars, by tenant: its name or the beginning of its digest.",
            )
            .with_callback(move |observer| {
                let Some(tenants) = tenants.upgrade() else { return };
                let tell = |spent: &Spent| {
                    let usd = Money::from_nanos(spent.nanos.load(Ordering::Relaxed)).usd();
                    observer.observe(usd, &[KeyValue::new("tenant", spent.name.clone())]);
                };
                tenants.spent.iter().for_each(|spent| tell(&spent));
                tell(&tenants.others);
            })
            .build();
    }
}

fn named(names: &Names) -> HashMap<Tenant, String> {
    names.all().take(MAX_TENANTS).map(|(name, tenant)| (*tenant, name.clone())).collect()
}

fn with(labels: &[KeyValue], key: &'static str, value: &'static str) -> Vec<KeyValue> {
    labels.iter().cloned().chain([KeyValue::new(key, value)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_tenants_have_no_more_than_the_bound_of_labels() {
        let named = Tenant::of(b"named");
        let names: Names = [("ours".to_owned(), named)].into_iter().collect();
        let tenants = Tenants::new(&names);
        for number in 0..10_000_u32 {
            tenants.spent(&Tenant::of(&number.to_le_bytes()), Money::from_nanos(1));
        }
        tenants.spent(&named, Money::from_nanos(7));
        assert!(tenants.spent.len() <= MAX_TENANTS);
        assert_eq!(tenants.spent.get(&named).unwrap().name, "ours", "a named one has its own place whenever it comes");
        let sum: u64 = tenants.spent.iter().map(|spent| spent.nanos.load(Ordering::Relaxed)).sum();
        assert_eq!(sum + tenants.others.nanos.load(Ordering::Relaxed), 10_007, "nothing is lost");
    }
}
