//! Heads that never end: each is cut off in time, and a good client beside them does not feel them.

mod attacker;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::constant_rate::ConstantRate;
use super::latencies::Latencies;
use super::limit::Limit;
use super::report::Report;
use super::rounds::Rounds;
use crate::wire::prompt::Shape;
use crate::wire::target::Target;
use attacker::{Kind, hold};

const CLOSED: &str = "last closed after s";
const FAILED: &str = "good requests failed";

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL; repeat it.
    #[arg(long = "target", required = true)]
    targets: Vec<Target>,
    /// A third silent, a third stalled in the head, a third dripping a byte a second.
    #[arg(long, default_value_t = 2000)]
    connections: usize,
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// The good client's requests a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// NAME=SECONDS: until the last is closed. One that stays open counts as never.
    #[arg(long)]
    max_closed_seconds: Vec<Limit>,
    /// NAME=COUNT: failed requests of the good client.
    #[arg(long)]
    max_failed: Vec<Limit>,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.targets, None)?;
    for place in 0..options.targets.len() {
        measure(options, place, &mut rounds).await?;
    }
    let mut report = Report::new("slowloris", &rounds);
    for limit in &options.max_closed_seconds {
        report.bar(limit.at_most(&rounds, CLOSED, &options.targets)?);
    }
    for limit in &options.max_failed {
        report.bar(limit.at_most(&rounds, FAILED, &options.targets)?);
    }
    Ok(report)
}

async fn measure(options: &Options, place: usize, rounds: &mut Rounds) -> anyhow::Result<()> {
    let target = &options.targets[place];
    let mut good = ConstantRate::new(target.address, &Shape::default(), options.rate)?;
    drop(good.run(Duration::from_millis(500)).await?);
    let end = tokio::time::Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut attackers = JoinSet::new();
    for kind in Kind::ALL.into_iter().cycle().take(options.connections) {
        attackers.spawn(timeout_at(end, hold(target.address, kind)));
    }
    let sent = good.run(Duration::from_secs_f64(options.seconds)).await?;
    let (mut last, mut open, mut refused) = (Duration::ZERO, 0_u64, 0_u64);
    while let Some(held) = attackers.join_next().await {
        match held? {
            Ok(Ok(held)) => last = last.max(held),
            Ok(Err(_)) => refused += 1,
            Err(_still_open) => open += 1,
        }
    }
    let latencies = Latencies::of(sent.iter().filter_map(|sent| sent.latency))?;
    let failed = u32::try_from(sent.iter().filter(|sent| sent.latency.is_none()).count()).context("too many")?;
    rounds.record(CLOSED, place, if open == 0 { last.as_secs_f64() } else { f64::INFINITY });
    rounds.record("still open at the end", place, open as f64);
    rounds.record("could not connect", place, refused as f64);
    rounds.record(FAILED, place, failed.into());
    rounds.record("good requests", place, sent.len() as f64);
    rounds.record("good latency p50 us", place, latencies.p50());
    rounds.record("good latency p99 us", place, latencies.p99());
    Ok(())
}
