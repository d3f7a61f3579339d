//! The figures by which runs are put beside each other.

use super::result::{Metric, Run};

/// A figure of a run.
#[derive(Clone, Copy)]
pub struct Figure {
    pub name: &'static str,
    /// None where the run has none.
    pub of: fn(&Run) -> Option<f64>,
}

macro_rules! latency {
    ($name:literal, $metric:ident, $quantile:ident) => {
        Figure { name: $name, of: |run| run.latencies.get(&Metric::$metric).map(|found| found.$quantile) }
    };
}

pub const FIGURES: &[Figure] = &[
    Figure { name: "requests_per_second", of: |run| Some(run.rates.requests) },
    Figure { name: "output_tokens_per_second", of: |run| Some(run.rates.output_tokens).filter(|rate| *rate > 0.0) },
    latency!("p50_end_to_end_ms", EndToEnd, p50),
    latency!("p95_end_to_end_ms", EndToEnd, p95),
    latency!("p99_end_to_end_ms", EndToEnd, p99),
    latency!("p50_ttft_ms", Ttft, p50),
    latency!("p99_ttft_ms", Ttft, p99),
    latency!("p50_inter_token_ms", InterToken, p50),
    latency!("p99_inter_token_ms", InterToken, p99),
    latency!("p50_tpot_ms", Tpot, p50),
    Figure {
        name: "cpu_microseconds_per_request",
        of: |run| run.process.as_ref().map(|process| process.cpu_microseconds_per_request),
    },
];
