//! What is measured of the store.

use std::sync::{Mutex, PoisonError, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Counter, Meter};

use tokio::time::Instant;

use super::{Fault, Store};
use crate::windows::{Summary, Window, Windows};

/// Buckets from 10 µs, which a local server takes at best, to the longest that a request could be made to wait.
const SECONDS: [f64; 12] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_075, 0.000_1, 0.000_15, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.05];

pub(super) struct Meters {
    duration: BoundHistogram<f64>,
    errors: Counter<u64>,
    waits: Mutex<Waits>,
}

/// Calls that requests waited for, as of late.
#[derive(Clone, Default)]
struct Waits {
    calls: Windows,
    slow: Windows,
    failed: Windows,
}

/// What is known of them over one window.
#[derive(Clone, Debug, Default)]
pub struct Waited {
    /// All of them, those that ran into the timeout too.
    pub calls: Option<Summary>,
    pub timeouts: u64,
    /// Other errors: refused, cut.
    pub errors: u64,
}

impl Meters {
    pub(super) fn new(meter: &Meter) -> Self {
        let duration = meter
            .f64_histogram("outrigger_redis_duration")
            .with_unit("s")
            .with_description("Time of one call to Redis that a request waited for.")
            .with_boundaries(SECONDS.to_vec())
            .build()
            .bind(&[]);
        let errors = meter
            .u64_counter("outrigger_redis_errors")
            .with_description("Calls to Redis, and attempts to reach it, that failed, by kind.")
            .build();
        Meters { duration, errors, waits: Mutex::default() }
    }

    /// A request waited so long for an answer, if there was one.
    pub(super) fn waited(&self, begun: Instant, answered: Option<bool>) {
        let now = Instant::now();
        let seconds = (now - begun).as_secs_f64();
        if answered.is_some() {
            self.duration.record(seconds);
        }
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.calls.record(now, seconds);
        match answered {
            None => waits.slow.record(now, seconds),
            Some(false) => waits.failed.record(now, seconds),
            Some(true) => {}
        }
    }

    pub(super) fn told(&self, window: Window) -> Waited {
        let now = Instant::now();
        // A copy: summing up takes longer than a request may wait.
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = |windows: &Windows| windows.summary(now, window).map_or(0, |summary| summary.count);
        Waited { calls: waits.calls.summary(now, window), timeouts: count(&waits.slow), errors: count(&waits.failed) }
    }

    pub(super) fn error(&self, fault: Fault) {
        self.errors.add(1, &[KeyValue::new("kind", fault.name())]);
    }
}

pub(super) fn observe_up(meter: &Meter, store: Weak<Store>) {
    meter
        .u64_observable_gauge("outrigger_redis_up")
        .with_description("Whether Redis answers: 1 or 0.")
        .with_callback(move |observer| {
            if let Some(store) = store.upgrade() {
                observer.observe(store.health().is_up().into(), &[]);
            }
        })
        .build();
}
