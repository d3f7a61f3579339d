//! What the room measures of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::gate::{Change, Outcome, Phase};
use super::lane::Lane;
use super::member::Member;
use crate::newest::Newest;

pub struct Meters {
    transitions: Counter<u64>,
    pub retries: AtomicU64,
    pub budget_spent: AtomicU64,
    pub hedges: AtomicU64,
    pub hedges_won: AtomicU64,
    refusals: Counter<u64>,
    fallbacks: Counter<u64>,
    /// Who wants to hear of each change of a breaker.
    pub hear: OnceLock<Box<dyn Fn(Value) + Send + Sync>>,
}

impl Meters {
    pub fn new(meter: &Meter) -> Self {
        let counter = |name, description| meter.u64_counter(name).with_description(description).build();
        Meters {
            transitions: counter(
                "outrigger_breaker_transitions",
                "Changes of a breaker's state, by backend and cause.",
            ),
            refusals: counter("outrigger_breaker_refusals", "Requests that no backend was asked for, by the reason."),
            fallbacks: counter(
                "outrigger_fallbacks",
                "Requests that a backend of a higher tier or another model took.",
            ),
            retries: AtomicU64::new(0),
            budget_spent: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            hedges_won: AtomicU64::new(0),
            hear: OnceLock::new(),
        }
    }

    pub fn changed(&self, lane: &Lane, change: &Change) {
        let labels = [
            KeyValue::new("backend", lane.member.name().to_owned()),
            KeyValue::new("to", change.to.name()),
            KeyValue::new("cause", change.cause.name()),
        ];
        self.transitions.add(1, &labels);
        if let Some(hear) = self.hear.get() {
            hear(json!({
                "backend": lane.member.name(),
                "model": lane.model,
                "from": change.from.name(),
                "to": change.to.name(),
                "cause": change.cause.name(),
                "open_for_ms": change.open_for.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            }));
        }
    }

    pub fn refused(&self, why: &'static str) {
        self.refusals.add(1, &[KeyValue::new("why", why)]);
    }

    pub fn fell_back(&self, to: &'static str) {
        self.fallbacks.add(1, &[KeyValue::new("to", to)]);
    }
}

/// Lets the instruments that are looked at, and not told, see the fleet.
pub fn observe(fleet: &Arc<Fleet>, meter: &Meter) {
    counted(fleet, meter);
    of_backends(fleet, meter);
    let seen = fleet.newest.clone();
    meter
        .u64_observable_gauge("outrigger_breaker_state")
        .with_description("The breaker of a backend and model: 0 closed, 1 half-open, 2 open.")
        .with_callback(move |observer| {
            each(&seen, |member, backend| {
                for lane in member.lanes() {
                    let state = match lane.gate.phase(Instant::now()) {
                        Phase::Closed => 0,
                        Phase::HalfOpen => 1,
                        Phase::Open => 2,
                    };
                    let model = KeyValue::new("gen_ai.request.model", lane.model.to_string());
                    observer.observe(state, &[backend.clone(), model]);
                }
            });
        })
        .build();
}

type OfMeters = fn(&Meters) -> &AtomicU64;

fn counted(fleet: &Arc<Fleet>, meter: &Meter) {
    let counters: [(&'static str, &'static str, OfMeters); 4] = [
        ("outrigger_retries", "Calls that were repeated.", |meters| &meters.retries),
        ("outrigger_retry_budget_exhausted", "Calls that were not repeated because the budget was spent.", |meters| {
            &meters.budget_spent
        }),
        ("outrigger_hedges", "First tokens that a second backend was asked for.", |meters| &meters.hedges),
        ("outrigger_hedges_won", "Of these, those that the second backend had first.", |meters| &meters.hedges_won),
    ];
    for (name, description, of) in counters {
        let meters = fleet.meters.clone();
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            observer.observe(of(&meters).load(Ordering::Relaxed), &[]);
        };
        meter.u64_observable_counter(name).with_description(description).with_callback(observe).build();
    }
}

/// Each backend with its label, while there is a fleet.
fn each(seen: &Newest<Fleet>, mut tell: impl FnMut(&Arc<Member>, KeyValue)) {
    for member in seen.get().iter().flat_map(|fleet| &fleet.members) {
        tell(member, KeyValue::new("backend", member.name().to_owned()));
    }
}

type OfMember = fn(&Member) -> u64;

fn of_backends(fleet: &Arc<Fleet>, meter: &Meter) {
    let gauges: [(&'static str, &'static str, OfMember); 6] = [
        ("outrigger_backend_in_flight", "Requests that a backend is at.", |member| {
            member.in_flight.load(Ordering::Relaxed)
        }),
        ("outrigger_backend_limit", "Requests, or tokens, that a backend is given at once.", |member| {
            member.admission.report().limit
        }),
        (
            "outrigger_backend_tokens_in_flight",
            "Tokens of prompts and expected answers that a backend is at.",
            |member| member.admission.report().tokens,
        ),
        ("outrigger_backend_queued", "Requests that wait for a backend.", |member| {
            member.admission.report().queued.sum()
        }),
        ("outrigger_backend_healthy", "1 where the active checks find a backend well, or it has none.", |member| {
            u64::from(member.is_healthy())
        }),
        ("outrigger_backend_pressure", "What presses on a backend: 0 nothing, 1 avoid, 2 shed.", |member| {
            member.pressure() as u64
        }),
    ];
    for (name, description, of) in gauges {
        let seen = fleet.newest.clone();
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            each(&seen, |member, backend| observer.observe(of(member), &[backend]));
        };
        meter.u64_observable_gauge(name).with_description(description).with_callback(observe).build();
    }
    let seen = fleet.newest.clone();
    meter
        .u64_observable_gauge("outrigger_backend_capacity_tokens")
        .with_description("Tokens that a backend has room for; not there where nobody knows.")
        .with_callback(move |observer| {
            each(&seen, |member, backend| {
                if let Some(capacity) = member.admission.report().capacity_tokens {
                    observer.observe(capacity, &[backend]);
                }
            });
        })
        .build();
    let seen = fleet.newest.clone();
    meter
        .u64_observable_counter("outrigger_backend_calls")
        .with_description("Calls to a backend by what came of them: good, fault, limited, unauthorized, neutral.")
        .with_callback(move |observer| {
            each(&seen, |member, backend| {
                for (outcome, count) in Outcome::ALL.into_iter().zip(&*member.calls) {
                    let outcome = KeyValue::new("outcome", outcome.name());
                    observer.observe(count.load(Ordering::Relaxed), &[backend.clone(), outcome]);
                }
            });
        })
        .build();
    let seen = fleet.newest.clone();
    meter
        .u64_observable_counter("outrigger_backend_stalls")
        .with_description("Streams ended because nothing came within the time between two tokens.")
        .with_callback(move |observer| {
            each(&seen, |member, backend| observer.observe(member.stalls.load(Ordering::Relaxed), &[backend]));
        })
        .build();
}
