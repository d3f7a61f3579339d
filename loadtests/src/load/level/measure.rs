//! What a service level can be on, by name, and its value in a run.

use std::str::FromStr;

use super::recovery::recovery_seconds;
use crate::load::result::{Distribution, Metric, Process, Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// In milliseconds.
    Latency(Statistic, Metric),
    /// Failed requests among those that are over, from 0 to 1.
    ErrorRate,
    RequestsPerSecond,
    /// Requests a second that were answered within every limit on a latency.
    Goodput,
    /// The same among those that are over, from 0 to 1.
    GoodShare,
    OutputTokensPerSecond,
    RecoverySecs,
    ResidentMibPeak,
    ResidentMibPerHour,
    FilesPerHour,
    /// CPU of the target a request.
    CpuMicrosecondsPerRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    Min,
    Mean,
    Stdev,
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
}

const PLAIN: [(&str, Measure); 10] = [
    ("error_rate", Measure::ErrorRate),
    ("requests_per_second", Measure::RequestsPerSecond),
    ("goodput", Measure::Goodput),
    ("good_share", Measure::GoodShare),
    ("output_tokens_per_second", Measure::OutputTokensPerSecond),
    ("recovery_secs", Measure::RecoverySecs),
    ("resident_mib_peak", Measure::ResidentMibPeak),
    ("resident_mib_per_hour", Measure::ResidentMibPerHour),
    ("files_per_hour", Measure::FilesPerHour),
    ("cpu_microseconds_per_request", Measure::CpuMicrosecondsPerRequest),
];

const STATISTICS: [(&str, Statistic); 9] = [
    ("min", Statistic::Min),
    ("mean", Statistic::Mean),
    ("stdev", Statistic::Stdev),
    ("p50", Statistic::P50),
    ("p90", Statistic::P90),
    ("p95", Statistic::P95),
    ("p99", Statistic::P99),
    ("p999", Statistic::P999),
    ("max", Statistic::Max),
];

const METRICS: [(&str, Metric); 7] = [
    ("schedule_lag", Metric::ScheduleLag),
    ("end_to_end", Metric::EndToEnd),
    ("service", Metric::Service),
    ("ttft", Metric::Ttft),
    ("service_ttft", Metric::ServiceTtft),
    ("inter_token", Metric::InterToken),
    ("tpot", Metric::Tpot),
];

impl Measure {
    /// Whether only a load with a schedule has it.
    pub fn is_of_the_schedule(self) -> bool {
        matches!(self, Measure::Latency(_, Metric::ScheduleLag))
    }

    /// None where the run has nothing to measure it by.
    pub fn of(self, run: &Run) -> Option<f64> {
        let process = |value: fn(&Process) -> f64| run.process.as_ref().map(value);
        match self {
            Measure::Latency(statistic, metric) => run.latencies.get(&metric).and_then(|all| statistic.of(all)),
            Measure::ErrorRate => share(run.counts.failed, run),
            Measure::GoodShare => share(run.counts.good, run),
            Measure::RequestsPerSecond => Some(run.rates.requests),
            Measure::Goodput => Some(run.rates.goodput),
            Measure::OutputTokensPerSecond => Some(run.rates.output_tokens),
            Measure::RecoverySecs => recovery_seconds(run),
            Measure::ResidentMibPeak => process(|process| process.resident_mib_peak),
            Measure::ResidentMibPerHour => process(|process| process.resident_mib_per_hour),
            Measure::FilesPerHour => process(|process| process.files_per_hour),
            Measure::CpuMicrosecondsPerRequest => process(|process| process.cpu_microseconds_per_request),
        }
    }
}

/// Of the requests that are over.
fn share(part: u64, run: &Run) -> Option<f64> {
    let over = run.counts.answered + run.counts.failed;
    (over > 0).then(|| part as f64 / over as f64)
}

impl Statistic {
    fn of(self, all: &Distribution) -> Option<f64> {
        let value = match self {
            Statistic::Min => all.min,
            Statistic::Mean => all.mean,
            Statistic::Stdev => all.stdev,
            Statistic::P50 => all.p50,
            Statistic::P90 => all.p90,
            Statistic::P95 => all.p95,
            Statistic::P99 => all.p99,
            Statistic::P999 => all.p999,
            Statistic::Max => all.max,
        };
        (all.count > 0).then_some(value)
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(name: &str) -> Result<Measure, String> {
        let plain = PLAIN.into_iter().find(|(known, _)| *known == name).map(|(_, measure)| measure);
        plain.or_else(|| latency(name)).ok_or_else(|| {
            let names = |known: Vec<&str>| known.join(", ");
            format!(
                "{name:?} is no measure: there are {}; and latencies as STATISTIC_METRIC_ms, of the statistics {} and \
                 the metrics {}",
                names(PLAIN.iter().map(|(name, _)| *name).collect()),
                names(STATISTICS.iter().map(|(name, _)| *name).collect()),
                names(METRICS.iter().map(|(name, _)| *name).collect()),
            )
        })
    }
}

/// `p95_ttft_ms`.
fn latency(name: &str) -> Option<Measure> {
    let (statistic, metric) = name.strip_suffix("_ms")?.split_once('_')?;
    let statistic = STATISTICS.into_iter().find(|(known, _)| *known == statistic)?.1;
    let metric = METRICS.into_iter().find(|(known, _)| *known == metric)?.1;
    Some(Measure::Latency(statistic, metric))
}
