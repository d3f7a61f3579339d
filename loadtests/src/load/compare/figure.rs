//! What is compared.

use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};

use crate::load::result::Metric;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Latency(Metric, Quantile),
    /// Answered requests a second.
    Requests,
    Goodput,
    OutputTokens,
    /// Failed requests by all that ended.
    ErrorRate,
    CpuPerRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    P50,
    P95,
    P99,
}

/// Those in which a target shows; the schedule's lag is the load tester's own.
pub const METRICS: [Metric; 6] =
    [Metric::EndToEnd, Metric::Service, Metric::Ttft, Metric::ServiceTtft, Metric::InterToken, Metric::Tpot];

impl Quantile {
    pub const ALL: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];

    pub fn share(self) -> f64 {
        match self {
            Quantile::P50 => 0.5,
            Quantile::P95 => 0.95,
            Quantile::P99 => 0.99,
        }
    }

    /// From which quantile of both samples on their values are ranked; what lies below counts as tied. Around the
    /// median that is all of them, around the 95th percentile the slowest tenth: all but the tail would hide the tail.
    pub fn ranked_from(self) -> Option<f64> {
        match self {
            Quantile::P50 => None,
            Quantile::P95 => Some(0.90),
            Quantile::P99 => Some(0.98),
        }
    }

    /// How many values a sample must have, so that ten lie beyond.
    pub fn least_count(self) -> u64 {
        match self {
            Quantile::P50 => 20,
            Quantile::P95 => 200,
            Quantile::P99 => 1000,
        }
    }
}

impl Figure {
    /// What it is a figure of: the quantiles of one metric move together.
    pub fn metric(self) -> &'static str {
        match self {
            Figure::Latency(metric, _) => metric_name(metric),
            Figure::Requests => "requests",
            Figure::Goodput => "goodput",
            Figure::OutputTokens => "output tokens",
            Figure::ErrorRate => "errors",
            Figure::CpuPerRequest => "CPU",
        }
    }

    pub fn less_is_better(self) -> bool {
        matches!(self, Figure::Latency(..) | Figure::ErrorRate | Figure::CpuPerRequest)
    }
}

/// As people call it, the rest as the file has it.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::ScheduleLag => "schedule lag",
        Metric::EndToEnd => "end to end",
        Metric::Service => "service",
        Metric::Ttft => "TTFT",
        Metric::ServiceTtft => "service TTFT",
        Metric::InterToken => "inter-token",
        Metric::Tpot => "TPOT",
    }
}

impl Display for Quantile {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Quantile::P50 => "p50",
            Quantile::P95 => "p95",
            Quantile::P99 => "p99",
        })
    }
}

impl Display for Figure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Latency(metric, quantile) => write!(formatter, "{} {quantile}", metric_name(*metric)),
            Figure::Requests => formatter.write_str("requests/s"),
            Figure::Goodput => formatter.write_str("goodput/s"),
            Figure::OutputTokens => formatter.write_str("output tokens/s"),
            Figure::ErrorRate => formatter.write_str("error rate"),
            Figure::CpuPerRequest => formatter.write_str("CPU a request"),
        }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
