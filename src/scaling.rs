//! Scaling, seen from here: the sidecars on our Redis, the model servers behind their names, and requests that wait.
//!
//! A model server counts while the active checks and the operator let it be asked: a breaker that opens says that it is
//! sick, and not that it is gone. A name that has several addresses counts for so many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use outrigger_filters::breaker::Demand;
use outrigger_filters::scaling::{Change, EVERY, Meters, Of, Scaling, Seen};
use outrigger_filters::store::{Health, Store};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::events::Events;
use crate::serving::Current;

/// Changes that are kept for `GET /api/scaling`.
const KEPT: usize = 64;

pub struct Scales {
    state: Mutex<State>,
    meters: Meters,
    current: Arc<Current>,
    store: Option<Arc<Store>>,
    events: Arc<Events>,
}

#[derive(Default)]
struct State {
    scaling: Scaling,
    /// The newest last.
    latest: VecDeque<Value>,
}

impl Scales {
    pub fn new(current: Arc<Current>, store: Option<Arc<Store>>, events: Arc<Events>, meter: &Meter) -> Arc<Self> {
        let scales = Scales { state: Mutex::default(), meters: Meters::new(meter), current, store, events };
        let scales = Arc::new(scales);
        scales.observe(meter);
        scales
    }

    /// What `GET /api/scaling` answers.
    pub fn report(&self) -> Value {
        let Demand { held, held_by_engines, waited, refused } = self.current.load().fleet().demand();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = state.scaling.report(Instant::now());
        report["held"] = json!({ "outrigger": held, "engines": held_by_engines });
        report["waited_total"] = waited.into();
        report["refused_total"] = refused.into();
        report["latest"] = state.latest.iter().rev().cloned().collect();
        report
    }

    async fn look(&self) {
        let demand = self.current.load().fleet().demand();
        let seen = Seen {
            outriggers: self.outriggers(),
            backends: Some(self.current.load_full().backends.replicas().await),
            held: demand.held + demand.held_by_engines,
            refused: demand.refused,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for change in state.scaling.look(Instant::now(), seen) {
            self.tell(&mut state.latest, &change);
        }
    }

    /// Those who gave a sign of life on our Redis; without one we are alone.
    fn outriggers(&self) -> Option<u32> {
        match &self.store {
            None => Some(1),
            Some(store) => matches!(store.health(), Health::Up).then(|| store.replicas().count),
        }
    }

    fn tell(&self, latest: &mut VecDeque<Value>, change: &Change) {
        match change {
            Change::Replicas { of, direction, from, to } => {
                tracing::info!(of = of.name(), direction = direction.name(), from, to, "scaled");
            }
            Change::Pressure { held } => tracing::warn!(held, "requests wait or are refused for want of room"),
            Change::Relief { after, scaled } => {
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(after_ms, scaled = scaled.name(), "requests need not wait any more");
            }
        }
        self.meters.count(change);
        let mut told = json!(change);
        self.events.say("scaling", told.clone());
        told["at"] = date().into();
        if latest.len() == KEPT {
            latest.pop_front();
        }
        latest.push_back(told);
    }

    fn observe(self: &Arc<Self>, meter: &Meter) {
        let scales = Arc::downgrade(self);
        meter
            .u64_observable_gauge("outrigger_scaling_replicas")
            .with_description("Sidecars and gateways on one Redis, and model servers; not there until it is known.")
            .with_callback(move |observer| {
                let Some(scales) = scales.upgrade() else { return };
                let state = scales.state.lock().unwrap_or_else(PoisonError::into_inner);
                for (of, count) in Of::ALL.into_iter().filter_map(|of| Some((of, state.scaling.replicas(of)?))) {
                    observer.observe(count.into(), &[KeyValue::new("of", of.name())]);
                }
            })
            .build();
        let scales = Arc::downgrade(self);
        meter
            .u64_observable_gauge("outrigger_scaling_pressure")
            .with_description("1 while requests wait or are refused for want of room, for longer than a moment.")
            .with_callback(move |observer| {
                let Some(scales) = scales.upgrade() else { return };
                let state = scales.state.lock().unwrap_or_else(PoisonError::into_inner);
                observer.observe(state.scaling.is_pressed().into(), &[]);
            })
            .build();
        let current = Arc::downgrade(&self.current);
        meter
            .u64_observable_gauge("outrigger_scaling_held_requests")
            .with_description("Requests that wait for room: here, and in the engines as those say.")
            .with_callback(move |observer| {
                let Some(current) = current.upgrade() else { return };
                let demand = current.load().fleet().demand();
                observer.observe(demand.held, &[KeyValue::new("by", "outrigger")]);
                observer.observe(demand.held_by_engines, &[KeyValue::new("by", "engine")]);
            })
            .build();
        type Counted = fn(&Demand) -> u64;
        let counters: [(&'static str, &'static str, Counted); 2] = [
            ("outrigger_scaling_waited", "Requests that had to wait here for room.", |demand| demand.waited),
            ("outrigger_scaling_refused", "Requests turned away at a backend for want of room.", |demand| {
                demand.refused
            }),
        ];
        for (name, words, counted) in counters {
            let current = Arc::downgrade(&self.current);
            let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
                if let Some(current) = current.upgrade() {
                    observer.observe(counted(&current.load().fleet().demand()), &[]);
                }
            };
            meter.u64_observable_counter(name).with_description(words).with_callback(observe).build();
        }
    }
}

fn date() -> String {
    #[expect(clippy::disallowed_methods, reason = "a date for people to read")]
    let now = SystemTime::now();
    humantime::format_rfc3339_millis(now).to_string()
}

/// Looks, again and again.
pub struct Looking(pub Arc<Scales>);

#[async_trait]
impl BackgroundService for Looking {
    /// Never told to stop: requests in flight go on waiting.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.look().await;
        }
    }
}
