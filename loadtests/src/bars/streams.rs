//! Many streams at once: time to first token, CPU an event, integrity, and memory before, during and after.

mod reader;

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::latencies::Latencies;
use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::{Compared, Rounds, order};
use crate::wire::connection::Connection;
use crate::wire::process::{Meter, resident_mib};
use crate::wire::prompt::{Prompt, Shape};
use crate::wire::target::{Target, place};
use reader::{Stream, read};

const TTFT: [&str; 2] = ["TTFT p50 us", "TTFT p99 us"];
const ADDED: [&str; 2] = ["added TTFT p50 us", "added TTFT p99 us"];
const CPU: &str = "CPU us an event";
const WATCH: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    compared: Compared,
    #[arg(long, default_value_t = 512)]
    concurrency: usize,
    /// Tokens of each stream; an event each.
    #[arg(long, default_value_t = 100)]
    tokens: u64,
    #[arg(long, default_value_t = 10.0)]
    gap_ms: f64,
    #[arg(long, default_value_t = 50.0)]
    ttft_ms: f64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The streams start over this long.
    #[arg(long, default_value_t = 200)]
    spread_ms: u32,
    /// From the end of the streams until memory is read again.
    #[arg(long, default_value_t = 5.0)]
    settle_seconds: f64,
    /// NAME/OTHER=RATIO: of what each adds to the base's time to first token, at p99.
    #[arg(long)]
    max_ttft_ratio: Vec<Limit>,
    /// NAME=MICROSECONDS: CPU an event.
    #[arg(long)]
    max_cpu_per_event: Vec<Limit>,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.compared.targets, options.compared.base.as_deref())?;
    let mut wrong = Vec::new();
    for round in 0..options.rounds {
        for place in order(round, options.compared.targets.len()) {
            let faults = measure(options, place, &mut rounds).await?;
            let name = &options.compared.targets[place].name;
            wrong.extend(faults.into_iter().map(|fault| format!("{name}, round {round}: {fault}")));
        }
        rounds.record_added(TTFT, ADDED);
    }
    let mut report = Report::new("streams", &rounds);
    wrong.iter().take(20).for_each(|fault| report.note(fault.clone()));
    report.bar(Bar::exactly("streams that are not whole".to_owned(), wrong.len() as u64, 0));
    for limit in &options.max_ttft_ratio {
        place(&options.compared.targets, limit.target())?;
        report.bar(limit.ratio_at_most(&rounds, ADDED[1], &options.compared.targets)?);
    }
    for limit in &options.max_cpu_per_event {
        report.bar(limit.at_most(&rounds, CPU, &options.compared.targets)?);
    }
    Ok(report)
}

/// Gives what was wrong with streams.
async fn measure(options: &Options, place: usize, rounds: &mut Rounds) -> anyhow::Result<Vec<String>> {
    let target = &options.compared.targets[place];
    let before = target.process.map(resident_mib).transpose()?;
    let (streams, cpu, peak) = load(options, target).await?;
    let tokens: u64 = streams.iter().map(|stream| stream.tokens).sum();
    let ttft = Latencies::of(streams.iter().filter_map(|stream| stream.first_token))?;
    rounds.record(TTFT[0], place, ttft.p50());
    rounds.record(TTFT[1], place, ttft.p99());
    if let Some(cpu) = cpu {
        rounds.record(CPU, place, cpu / tokens as f64);
    }
    if let (Some(before), Some(process)) = (before, target.process) {
        sleep(Duration::from_secs_f64(options.settle_seconds)).await;
        rounds.record("resident MiB before", place, before);
        rounds.record("resident MiB at peak", place, peak);
        rounds.record("resident MiB after", place, resident_mib(process)?);
    }
    let faults: Vec<String> = streams.into_iter().filter_map(|stream| stream.fault(options.tokens)).collect();
    rounds.record("streams not whole", place, faults.len() as f64);
    Ok(faults)
}

async fn load(options: &Options, target: &Target) -> anyhow::Result<(Vec<Stream>, Option<f64>, f64)> {
    let sim = json!({"tokens": options.tokens, "gap_ms": options.gap_ms, "ttft_ms": options.ttft_ms});
    let mut prompt = Prompt::new(&Shape { stream: true, sim, ..Shape::default() });
    let mut connections = Vec::new();
    for _ in 0..options.concurrency {
        connections.push(Connection::open(target.address).await?);
    }
    let meter = Meter::start(target)?;
    let (mut readers, start) = (JoinSet::new(), Instant::now());
    let count = u32::try_from(options.concurrency)?;
    for (place, connection) in (0..count).zip(connections) {
        let due = start + Duration::from_millis(options.spread_ms.into()) * place / count;
        readers.spawn(read(connection, prompt.fresh().to_vec(), due));
    }
    let (mut streams, mut peak, mut watch) = (Vec::new(), 0.0_f64, tokio::time::interval(WATCH));
    loop {
        tokio::select! {
            stream = readers.join_next() => match stream {
                Some(stream) => streams.push(stream?),
                None => break,
            },
            _ = watch.tick() => peak = peak.max(target.process.map_or(Ok(0.0), resident_mib)?),
        }
    }
    let cpu = meter.microseconds()?;
    // The checks cost time of their own, and wait until nothing is measured any more.
    Ok((streams.into_iter().map(Stream::checked).collect(), cpu, peak))
}
