//! What a request waits: one at each tick of a constant rate, whether or not the last is answered.
//!
//! Latency counts from the intended send time, so that a stall is felt by all who would have come
//! meanwhile. How late the load itself was is measured too; a load that lags proves nothing.

use std::time::Duration;

use clap::Args;

use super::constant_rate::ConstantRate;
use super::latencies::Latencies;
use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::{Compared, Rounds, order};
use crate::wire::process::Meter;
use crate::wire::prompt::Shape;
use crate::wire::target::place;

const ADDED: [&str; 2] = ["added p50 us", "added p99 us"];
const ABSOLUTE: [&str; 2] = ["latency p50 us", "latency p99 us"];
/// Beyond this the schedule was not kept, and the run is invalid.
const MOST_LAG_US: f64 = 10_000.0;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    compared: Compared,
    /// Requests a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Before each measurement.
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bytes of each body, about.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// NAME/OTHER=RATIO: of what each adds to the base, at p50 and at p99.
    #[arg(long)]
    max_added_ratio: Vec<Limit>,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.compared.targets, options.compared.base.as_deref())?;
    let (mut errors, mut lag) = (0, 0.0_f64);
    for round in 0..options.rounds {
        for place in order(round, options.compared.targets.len()) {
            let outcome = measure(options, place, &mut rounds).await?;
            errors += outcome.errors;
            lag = lag.max(outcome.lag_p99_us);
        }
        rounds.record_added(ABSOLUTE, ADDED);
    }
    let mut report = Report::new("open", &rounds);
    report.bar(Bar::exactly("errors".to_owned(), errors, 0));
    report.bar(Bar::at_most("schedule lag p99 us, worst round".to_owned(), Some(lag), MOST_LAG_US));
    for limit in &options.max_added_ratio {
        for metric in ADDED {
            place(&options.compared.targets, limit.target())?;
            report.bar(limit.ratio_at_most(&rounds, metric, &options.compared.targets)?);
        }
    }
    Ok(report)
}

struct Outcome {
    errors: u64,
    lag_p99_us: f64,
}

async fn measure(options: &Options, place: usize, rounds: &mut Rounds) -> anyhow::Result<Outcome> {
    let target = &options.compared.targets[place];
    let shape = Shape { size: options.size, ..Shape::default() };
    let mut load = ConstantRate::new(target.address, &shape, options.rate)?;
    drop(load.run(Duration::from_secs_f64(options.warmup_seconds)).await?);
    let meter = Meter::start(target)?;
    let sent = load.run(Duration::from_secs_f64(options.seconds)).await?;
    let cpu = meter.microseconds()?;
    let latencies = Latencies::of(sent.iter().filter_map(|sent| sent.latency))?;
    let lag = Latencies::of(sent.iter().map(|sent| sent.lag))?;
    let errors = sent.iter().filter(|sent| sent.latency.is_none()).count() as u64;
    rounds.record(ABSOLUTE[0], place, latencies.p50());
    rounds.record(ABSOLUTE[1], place, latencies.p99());
    rounds.record("schedule lag p99 us", place, lag.p99());
    if let Some(cpu) = cpu {
        rounds.record("CPU us a request", place, cpu / sent.len() as f64);
    }
    rounds.record("errors", place, errors as f64);
    Ok(Outcome { errors, lag_p99_us: lag.p99() })
}
