//! What is measured of the store.

use std::sync::Weak;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Counter, Meter};

use super::{Fault, Store};

/// Buckets from 10 µs, which a local server takes at best, to the longest that a request could be made to wait.
const SECONDS: [f64; 12] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_075, 0.000_1, 0.000_15, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.05];

pub(super) struct Meters {
    pub(super) duration: BoundHistogram<f64>,
    errors: Counter<u64>,
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
        Meters { duration, errors }
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
