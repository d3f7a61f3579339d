//! What scaling measures of itself.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::{Change, Direction, Of, Scaled};

/// A rush is over in seconds, a pod is there in some ten, a machine with a GPU in minutes.
const SECONDS: [f64; 12] = [2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 3_600.0];

pub struct Meters {
    events: Counter<u64>,
    relief: Histogram<f64>,
}

impl Meters {
    pub fn new(meter: &Meter) -> Self {
        let events = meter
            .u64_counter("outrigger_scaling_events")
            .with_description("Changes of the number of sidecars and gateways, and of model servers.")
            .build();
        // There from the start: a counter that comes to be with its first event hides that event from `increase`.
        for (of, direction) in Of::ALL.into_iter().flat_map(|of| Direction::ALL.map(|direction| (of, direction))) {
            events.add(0, &labels(of, direction));
        }
        let relief = meter
            .f64_histogram("outrigger_scaling_relief_duration")
            .with_unit("s")
            .with_description("From when requests began to wait or to be refused until they did no more.")
            .with_boundaries(SECONDS.to_vec())
            .build();
        Meters { events, relief }
    }

    pub fn count(&self, change: &Change) {
        match change {
            Change::Replicas { of, direction, .. } => self.events.add(1, &labels(*of, *direction)),
            Change::Relief { after, scaled } => self.relief.record(after.as_secs_f64(), &[label(*scaled)]),
            Change::Pressure { .. } => {}
        }
    }
}

fn labels(of: Of, direction: Direction) -> [KeyValue; 2] {
    [KeyValue::new("of", of.name()), KeyValue::new("direction", direction.name())]
}

fn label(scaled: Scaled) -> KeyValue {
    KeyValue::new("scaled", scaled.name())
}
