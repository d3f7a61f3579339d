//! What a run looks like while it lasts: published each second, for the terminal and for Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

/// The state of a run at one moment. Counts are since the beginning of the load, the warm-up included: they never
/// go down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the beginning of the load, the warm-up included.
    pub elapsed: Duration,
    /// Until the last request of the plan is sent, the warm-up included; none where the plan does not say.
    pub planned: Option<Duration>,
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub in_flight: u64,
    /// Answered in the last second.
    pub requests_per_second: f64,
    pub output_tokens_per_second: f64,
    /// From the intended send time to the last byte, of what ended in the last second.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// None where no stream has begun to answer in the last second.
    pub ttft_p50_ms: Option<f64>,
    /// The load's own lateness in the last second.
    pub lag_p99_ms: f64,
    pub errors: BTreeMap<String, u64>,
}

/// Someone who watches a run. It is called on the thread that merges what the workers publish, so that what it
/// does costs the load nothing but the processor it takes.
pub trait Observer: Send {
    fn snapshot(&mut self, snapshot: &Snapshot);
}

/// Watches nothing.
impl Observer for () {
    fn snapshot(&mut self, _: &Snapshot) {}
}
