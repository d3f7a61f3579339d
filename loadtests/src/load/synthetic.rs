//! Runs made of samples, as a load test would have found them: what the statistics and the reports are proven with.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::distribution;
use super::result::{Counts, Distribution, FORMAT, Integrity, Machine, Metric, Rates, Run, Slice};

/// Slices one after another, each with the latencies of its requests in milliseconds.
pub struct Builder {
    name: String,
    slices: Vec<Part>,
}

/// What was found in a slice.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub seconds: f64,
    /// In milliseconds, each as many as there were.
    pub latencies: BTreeMap<Metric, Vec<f64>>,
    pub failed: u64,
    pub output_tokens: u64,
    pub cpu_share: Option<f64>,
}

impl Builder {
    pub fn new(name: &str) -> Builder {
        Builder { name: name.to_owned(), slices: Vec::new() }
    }

    /// A slice whose answers took so long, from the intended send time and from the sending alike.
    #[must_use]
    pub fn slice(self, seconds: f64, milliseconds: &[f64]) -> Builder {
        let both = [Metric::EndToEnd, Metric::Service].map(|metric| (metric, milliseconds.to_vec()));
        self.part(Part { seconds, latencies: both.into(), ..Part::default() })
    }

    #[must_use]
    pub fn part(mut self, part: Part) -> Builder {
        self.slices.push(part);
        self
    }

    /// An error only where a latency is beyond an hour.
    pub fn build(self) -> anyhow::Result<Run> {
        let mut slices = Vec::new();
        let mut at_seconds = 0.0;
        for part in &self.slices {
            slices.push(part.slice(at_seconds)?);
            at_seconds += part.seconds;
        }
        let counts = self.counts();
        let a_second = |count: u64| count as f64 / at_seconds.max(f64::MIN_POSITIVE);
        let rates = Rates {
            requests: a_second(counts.answered),
            goodput: a_second(counts.good),
            output_tokens: a_second(counts.output_tokens),
            stream_bytes: 0.0,
        };
        Ok(Run {
            format: FORMAT.to_owned(),
            label: None,
            target: "http://127.0.0.1:8000".to_owned(),
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            machine: machine(),
            scenario: serde_json::json!({ "name": self.name }),
            planned_seconds: at_seconds,
            measured_seconds: at_seconds,
            cut_short: None,
            invalid: Vec::new(),
            latencies: self.latencies()?,
            name: self.name,
            counts,
            rates,
            errors: BTreeMap::new(),
            integrity: Integrity::default(),
            process: None,
            slices,
            marks: Vec::new(),
            levels: Vec::new(),
        })
    }

    fn counts(&self) -> Counts {
        let answered = self.slices.iter().map(Part::answered).sum();
        let failed: u64 = self.slices.iter().map(|part| part.failed).sum();
        let first_tokens = |part: &Part| part.latencies.get(&Metric::Ttft).map_or(0, Vec::len) as u64;
        Counts {
            sent: answered + failed,
            answered,
            failed,
            good: answered,
            streams: self.slices.iter().map(first_tokens).sum(),
            output_tokens: self.slices.iter().map(|part| part.output_tokens).sum(),
            ..Counts::default()
        }
    }

    fn latencies(&self) -> anyhow::Result<BTreeMap<Metric, Distribution>> {
        let mut histograms: BTreeMap<Metric, Histogram<u64>> = BTreeMap::new();
        for (metric, milliseconds) in self.slices.iter().flat_map(|part| &part.latencies) {
            let histogram = match histograms.entry(*metric) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => new.insert(distribution::empty()?),
            };
            record(histogram, milliseconds)?;
        }
        histograms.iter().map(|(metric, histogram)| Ok((*metric, Distribution::of(histogram)?))).collect()
    }
}

impl Part {
    fn answered(&self) -> u64 {
        self.latencies.get(&Metric::EndToEnd).map_or(0, Vec::len) as u64
    }

    fn slice(&self, at_seconds: f64) -> anyhow::Result<Slice> {
        Ok(Slice {
            at_seconds,
            seconds: self.seconds,
            sent: self.answered() + self.failed,
            answered: self.answered(),
            failed: self.failed,
            output_tokens: self.output_tokens,
            in_flight: 0,
            end_to_end: self.distribution(Metric::EndToEnd)?,
            ttft: self.distribution(Metric::Ttft)?,
            resident_mib: None,
            open_files: None,
            cpu_share: self.cpu_share,
        })
    }

    fn distribution(&self, metric: Metric) -> anyhow::Result<Option<Distribution>> {
        let Some(milliseconds) = self.latencies.get(&metric).filter(|some| !some.is_empty()) else { return Ok(None) };
        let mut histogram = distribution::empty()?;
        record(&mut histogram, milliseconds)?;
        Distribution::of(&histogram).map(Some)
    }
}

fn record(histogram: &mut Histogram<u64>, milliseconds: &[f64]) -> anyhow::Result<()> {
    for value in milliseconds {
        histogram.record((value * 1e6).round() as u64)?;
    }
    Ok(())
}

fn machine() -> Machine {
    Machine {
        class: "synthetic-2c-4g-linux".to_owned(),
        cpu: "synthetic".to_owned(),
        cores: 2,
        memory_mib: 4096,
        kernel: "none".to_owned(),
    }
}
