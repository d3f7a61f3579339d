//! Puts a run's result together from what the workers have recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::Ending;
use super::coordinator::Coordinator;
use crate::load::record::Recorder;
use crate::load::record::latencies::Latencies;
use crate::load::result::{Counts, FORMAT, Integrity, Machine, Metric, Rates, Run};
use crate::load::scenario::Scenario;

/// Milliseconds at p99; beyond this the schedule was not kept.
const MOST_LAG: f64 = 10.0;

/// All workers in one.
struct Sum {
    counts: Counts,
    errors: BTreeMap<String, u64>,
    integrity: Integrity,
    latencies: Latencies,
    last: Option<Instant>,
}

impl Coordinator {
    /// The result, without a judgement on the levels.
    pub fn assemble(mut self, scenario: &Scenario, ending: Ending) -> anyhow::Result<Run> {
        let sum = self.sum()?;
        let measured = sum.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(self.frame.start));
        let warmup = self.frame.start.saturating_duration_since(self.begin);
        let planned = self.settings.planned.map(|planned| planned.saturating_sub(warmup));
        let process = self.process.take().and_then(|process| process.finish(measured, sum.counts.sent));
        let sending = planned.unwrap_or(measured).min(self.frame.start.elapsed());
        let mut invalid = std::mem::take(&mut self.script.failures);
        invalid.extend(doubts(&sum, ending));
        Ok(Run {
            format: FORMAT.to_owned(),
            name: scenario.name.clone(),
            label: self.settings.label.clone(),
            target: scenario.target.url.clone(),
            started_at: started(self.begin),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::current(),
            scenario: serde_json::to_value(scenario).context("the scenario cannot be written")?,
            planned_seconds: planned.unwrap_or(measured).as_secs_f64(),
            measured_seconds: measured.as_secs_f64(),
            cut_short: self.cut_short(ending),
            invalid,
            rates: rates(&sum.counts, measured),
            latencies: sum.latencies.distributions()?,
            counts: sum.counts,
            errors: sum.errors,
            integrity: sum.integrity,
            process,
            slices: self.timeline.slices(sending),
            marks: std::mem::take(&mut self.script.marks),
            levels: Vec::new(),
        })
    }

    fn sum(&mut self) -> anyhow::Result<Sum> {
        let latencies = Latencies::new()?;
        let (counts, integrity) = (Counts::default(), Integrity::default());
        let mut sum = Sum { counts, errors: BTreeMap::new(), integrity, latencies, last: None };
        for recorder in &self.recorders {
            let mut recorder = recorder.lock();
            let slices = std::mem::take(&mut recorder.slices);
            self.timeline.add(slices)?;
            sum.add(&recorder)?;
        }
        sum.counts.most_in_flight = self.in_flight.most();
        Ok(sum)
    }

    fn cut_short(&self, ending: Ending) -> Option<String> {
        match ending {
            Ending::Complete => None,
            Ending::Dead => Some(format!(
                "the target is gone: for {:.1} s no connection could be opened",
                self.settings.patience.as_secs_f64()
            )),
            Ending::Interrupted => Some("interrupted".to_owned()),
        }
    }
}

impl Sum {
    fn add(&mut self, recorder: &Recorder) -> anyhow::Result<()> {
        let (mine, theirs) = (&mut self.counts, &recorder.counts);
        mine.sent += theirs.sent;
        mine.answered += theirs.answered;
        mine.failed += theirs.failed;
        mine.good += theirs.good;
        mine.streams += theirs.streams;
        mine.input_tokens += theirs.input_tokens;
        mine.output_tokens += theirs.output_tokens;
        mine.body_bytes_received += theirs.body_bytes_received;
        mine.stream_bytes_received += theirs.stream_bytes_received;
        let (mine, theirs) = (&mut self.integrity, &recorder.integrity);
        mine.checked += theirs.checked;
        mine.whole += theirs.whole;
        mine.lost += theirs.lost;
        mine.repeated += theirs.repeated;
        mine.reordered += theirs.reordered;
        mine.truncated += theirs.truncated;
        mine.crossed += theirs.crossed;
        mine.hash_mismatch += theirs.hash_mismatch;
        mine.error_event += theirs.error_event;
        mine.malformed += theirs.malformed;
        for (failure, count) in &recorder.errors {
            *self.errors.entry(failure.key()).or_default() += count;
        }
        self.last = self.last.max(recorder.last);
        self.latencies.add(&recorder.latencies)
    }
}

/// Why the figures should not be believed.
fn doubts(sum: &Sum, ending: Ending) -> Vec<String> {
    let mut doubts = Vec::new();
    let lag = sum.latencies.histogram(Metric::ScheduleLag).value_at_quantile(0.99) as f64 / 1e6;
    if lag > MOST_LAG {
        doubts.push(format!(
            "the schedule was not kept: requests were sent {lag:.1} ms late at p99, and {MOST_LAG} ms is the most; \
             ask for less, give the load tester a core of its own, or use --threads"
        ));
    }
    if sum.counts.sent == 0 && ending == Ending::Complete {
        doubts.push("nothing was sent in the measured time; is it shorter than the time between requests?".to_owned());
    }
    doubts
}

fn rates(counts: &Counts, measured: Duration) -> Rates {
    let a_second = |count: u64| if measured.is_zero() { 0.0 } else { count as f64 / measured.as_secs_f64() };
    Rates {
        requests: a_second(counts.answered),
        goodput: a_second(counts.good),
        output_tokens: a_second(counts.output_tokens),
        stream_bytes: a_second(counts.stream_bytes_received),
    }
}

/// RFC 3339, of the moment at which the load began.
fn started(begin: Instant) -> String {
    let before = jiff::SignedDuration::try_from(begin.elapsed()).unwrap_or_default();
    (jiff::Timestamp::now() - before).round(jiff::Unit::Millisecond).unwrap_or_default().to_string()
}
