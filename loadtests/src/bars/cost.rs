//! What a request costs: as many as go through, closed loop, every body unique or one of a few.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::latencies::Latencies;
use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::{Compared, Rounds, order};
use crate::wire::connection::Connection;
use crate::wire::process::Meter;
use crate::wire::prompt::{Prompt, Shape};

const RATE: &str = "requests/s";
const CPU: &str = "CPU us a request";
const ERRORS: &str = "errors";

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    compared: Compared,
    /// Bytes of each body, about.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// So many different bodies, again and again, for what answers from memory; 0: every body is unique.
    #[arg(long, default_value_t = 0)]
    distinct: u64,
    /// Measured in each round, after the warm-up.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Before each measurement.
    #[arg(long, default_value_t = 0.5)]
    warmup_seconds: f64,
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// NAME=RATIO: CPU a request, to the base.
    #[arg(long)]
    max_cpu_ratio: Vec<Limit>,
    /// NAME=RATIO: requests/s, to the base.
    #[arg(long)]
    min_rate_ratio: Vec<Limit>,
    /// NAME=MICROSECONDS: CPU a request.
    #[arg(long)]
    max_cpu: Vec<Limit>,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.compared.targets, options.compared.base.as_deref())?;
    let mut errors = 0;
    for round in 0..options.rounds {
        for place in order(round, options.compared.targets.len()) {
            errors += measure(options, place, &mut rounds).await?;
        }
    }
    let mut report = Report::new("cost", &rounds);
    report.bar(Bar::exactly("errors".to_owned(), errors, 0));
    for limit in &options.max_cpu_ratio {
        report.bar(limit.ratio_at_most(&rounds, CPU, &options.compared.targets)?);
    }
    for limit in &options.min_rate_ratio {
        report.bar(limit.ratio_at_least(&rounds, RATE, &options.compared.targets)?);
    }
    for limit in &options.max_cpu {
        report.bar(limit.at_most(&rounds, CPU, &options.compared.targets)?);
    }
    Ok(report)
}

async fn measure(options: &Options, place: usize, rounds: &mut Rounds) -> anyhow::Result<u64> {
    let target = &options.compared.targets[place];
    let start = Instant::now() + Duration::from_secs_f64(options.warmup_seconds);
    let end = start + Duration::from_secs_f64(options.seconds);
    let prompt = Prompt::new(&Shape { size: options.size, ..Shape::default() });
    let mut clients = JoinSet::new();
    for _ in 0..options.connections {
        clients.spawn(client(target.address, prompt.clone(), options.distinct, start..end));
    }
    sleep_until(start).await;
    let meter = Meter::start(target)?;
    sleep_until(end).await;
    let cpu = meter.microseconds()?;
    let (mut latencies, mut errors) = (Latencies::new()?, 0);
    while let Some(share) = clients.join_next().await {
        let share = share?;
        share.latencies.into_iter().for_each(|latency| latencies.record(latency));
        errors += share.errors;
    }
    let requests = latencies.len() as f64;
    anyhow::ensure!(requests > 0.0, "{} answered nothing, with {errors} errors", target.name);
    rounds.record(RATE, place, requests / options.seconds);
    if let Some(cpu) = cpu {
        rounds.record(CPU, place, cpu / requests);
    }
    rounds.record("latency p50 us", place, latencies.p50());
    rounds.record("latency p99 us", place, latencies.p99());
    rounds.record(ERRORS, place, errors as f64);
    Ok(errors)
}

struct Share {
    latencies: Vec<Duration>,
    errors: u64,
}

/// Sends the next request once the last is answered; counts what is answered between start and end.
async fn client(address: SocketAddr, mut prompt: Prompt, distinct: u64, measured: Range<Instant>) -> Share {
    let mut share = Share { latencies: Vec::new(), errors: 0 };
    let (mut connection, mut answer) = (None, Vec::new());
    while Instant::now() < measured.end {
        let sent = Instant::now();
        let request = if distinct == 0 { prompt.fresh() } else { prompt.one_of(distinct) };
        let latency = match once(address, &mut connection, request, &mut answer).await {
            Ok(()) => sent.elapsed(),
            Err(_) => {
                share.errors += 1;
                connection = None;
                continue;
            }
        };
        if measured.contains(&(sent + latency)) {
            share.latencies.push(latency);
        }
    }
    share
}

async fn once(
    address: SocketAddr,
    place: &mut Option<Connection>,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let mut connection = match place.take() {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let (status, keeps) = connection.exchange(request, answer).await?;
    anyhow::ensure!(status == 200 && answer.ends_with(b"}"), "status {status}");
    *place = keeps.then_some(connection);
    Ok(())
}
