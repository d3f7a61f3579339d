//! Which metrics there are, and what of a snapshot each tells.

use std::fmt;
use std::sync::PoisonError;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Latest;
use crate::load::live::Snapshot;

const MILLISECONDS: f64 = 1e3;

/// All names begin with `outrigger_load_`.
pub fn registry(latest: &Latest) -> Registry {
    let mut registry = Registry::with_prefix("outrigger_load");
    registry.register_collector(Box::new(Live(Latest::clone(latest))));
    registry
}

#[derive(Debug)]
struct Live(Latest);

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counters(&snapshot, &mut encoder)?;
        gauges(&snapshot, &mut encoder)
    }
}

fn counters(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let sent = [(NO_LABEL, snapshot.sent)];
    counter(encoder, ("requests_sent", "Requests sent"), &sent)?;
    let outcomes = [("answered", snapshot.answered), ("failed", snapshot.failed)];
    let outcomes = outcomes.map(|(outcome, times)| (("outcome", outcome), times));
    counter(encoder, ("requests", "Requests that ended, by outcome"), &outcomes)?;
    let errors: Vec<_> = snapshot.errors.iter().map(|(kind, times)| (("kind", kind.as_str()), *times)).collect();
    counter(encoder, ("errors", "Requests that failed, by kind"), &errors)
}

fn gauges(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let one = |value| [(NO_LABEL, value)];
    gauge(encoder, ("in_flight", "Requests sent and not yet ended"), &one(snapshot.in_flight as f64))?;
    let rate = one(snapshot.requests_per_second);
    gauge(encoder, ("requests_per_second", "Requests answered in the last second"), &rate)?;
    let tokens = one(snapshot.output_tokens_per_second);
    gauge(encoder, ("output_tokens_per_second", "Output tokens of the last second"), &tokens)?;
    let latencies = [("0.5", snapshot.p50_ms), ("0.99", snapshot.p99_ms)];
    let latencies = latencies.map(|(quantile, milliseconds)| (("quantile", quantile), milliseconds / MILLISECONDS));
    gauge(encoder, ("latency_seconds", "Intended send time to last byte, in the last second"), &latencies)?;
    if let Some(milliseconds) = snapshot.ttft_p50_ms {
        let ttft = [(("quantile", "0.5"), milliseconds / MILLISECONDS)];
        gauge(encoder, ("ttft_seconds", "Intended send time to first content, in the last second"), &ttft)?;
    }
    let lag = one(snapshot.lag_p99_ms / MILLISECONDS);
    gauge(encoder, ("schedule_lag_p99_seconds", "Lateness of the load itself in the last second"), &lag)?;
    gauge(encoder, ("elapsed_seconds", "Since the beginning of the load"), &one(snapshot.elapsed.as_secs_f64()))?;
    match snapshot.planned {
        Some(planned) => gauge(encoder, ("planned_seconds", "Length of the plan"), &one(planned.as_secs_f64())),
        None => Ok(()),
    }
}

type Label<'a> = (&'a str, &'a str);

/// What stands for a metric that has one value only.
const NO_LABEL: Label<'static> = ("", "");

fn counter(encoder: &mut DescriptorEncoder<'_>, named: (&str, &str), values: &[(Label<'_>, u64)]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(named.0, named.1, None, MetricType::Counter)?;
    for (label, value) in values {
        match *label {
            NO_LABEL => metric.encode_counter::<NoLabelSet, _, u64>(value, None)?,
            label => metric.encode_family(&[label])?.encode_counter::<NoLabelSet, _, u64>(value, None)?,
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, named: (&str, &str), values: &[(Label<'_>, f64)]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(named.0, named.1, None, MetricType::Gauge)?;
    for (label, value) in values {
        match *label {
            NO_LABEL => metric.encode_gauge(value)?,
            label => metric.encode_family(&[label])?.encode_gauge(value)?,
        }
    }
    Ok(())
}
