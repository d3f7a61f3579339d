//! Clients that leave in the middle: how soon the backend hears of it, and that no generation is forgotten.
//!
//! A generation that nobody reads would run for many seconds here; whatever is still active at the end, or
//! came to its own end, is an orphan.

mod client;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::Rounds;
use crate::wire::prompt::{Prompt, Shape};
use crate::wire::simulator::{Counts, Simulator};
use crate::wire::target::{Target, address};
use client::{Plan, group};
use watch::{Departures, Watch};

const P99: &str = "abort to cancel p99 us";

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL; repeat it.
    #[arg(long = "target", required = true)]
    targets: Vec<Target>,
    /// Where the simulator behind them is, for its log and clock.
    #[arg(long)]
    sim: String,
    /// Clients that leave.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    #[arg(long, default_value_t = 200)]
    concurrency: usize,
    /// Clients that share one body; the cancel is counted from the last one's leaving.
    #[arg(long, default_value_t = 1)]
    shared: usize,
    #[arg(long, default_value_t = 20)]
    ttft_ms: u64,
    #[arg(long, default_value_t = 10)]
    gap_ms: u64,
    /// Tokens that a forgotten generation would go on for.
    #[arg(long, default_value_t = 3000)]
    tokens: u64,
    /// NAME=MICROSECONDS: from abort to cancel, at p99.
    #[arg(long)]
    max_p99: Vec<Limit>,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.targets, None)?;
    let (mut bars, mut notes) = (Vec::new(), Vec::new());
    for place in 0..options.targets.len() {
        measure(options, place, &mut rounds, &mut bars, &mut notes).await?;
    }
    let mut report = Report::new("aborts", &rounds);
    notes.into_iter().for_each(|note| report.note(note));
    bars.into_iter().for_each(|bar| report.bar(bar));
    for limit in &options.max_p99 {
        report.bar(limit.at_most(&rounds, P99, &options.targets)?);
    }
    Ok(report)
}

async fn measure(
    options: &Options,
    place: usize,
    rounds: &mut Rounds,
    bars: &mut Vec<Bar>,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    let target = &options.targets[place];
    let simulator = address(&options.sim)?;
    let mut counter = Simulator::connect(simulator).await?;
    let before = counter.counts().await?;
    let watch = Watch::start(Simulator::connect(simulator).await?).await?;
    let errors = leave(options, target, &watch.departures()).await?;
    let after = counter.settled(Duration::from_secs(5)).await?;
    let seen = watch.end().await?;
    rounds.record("abort to cancel p50 us", place, seen.latencies.p50());
    rounds.record(P99, place, seen.latencies.p99());
    rounds.record("abort to cancel max us", place, seen.latencies.max());
    rounds.record("aborts with a latency", place, seen.latencies.len() as f64);
    rounds.record("clock in doubt by us", place, seen.doubt_us);
    rounds.record("generations started", place, (after.started - before.started) as f64);
    let name = &target.name;
    bars.push(Bar::exactly(format!("still active, {name}"), after.active, before.active));
    bars.push(Bar::exactly(format!("orphans that ran to their end, {name}"), after.finished - before.finished, 0));
    bars.push(Bar::exactly(format!("failed generations, {name}"), after.failed - before.failed, 0));
    bars.push(Bar::exactly(format!("started = ended, {name}"), after.started, ended(&after) + after.active));
    bars.push(Bar::exactly(format!("errors before leaving, {name}"), errors.len() as u64, 0));
    notes.extend(errors.into_iter().take(5).map(|error| format!("{name}: {error}")));
    if seen.unmatched > 0 {
        notes.push(format!("{name}: {} departures without a log entry that ended", seen.unmatched));
    }
    Ok(())
}

fn ended(counts: &Counts) -> u64 {
    counts.finished + counts.cancelled + counts.failed
}

/// All of them come and go; gives what went wrong before they left.
async fn leave(options: &Options, target: &Target, departures: &Departures) -> anyhow::Result<Vec<String>> {
    let sim = json!({"tokens": options.tokens, "gap_ms": options.gap_ms, "ttft_ms": options.ttft_ms});
    let prompt = Prompt::new(&Shape { stream: true, sim, ..Shape::default() });
    let groups = options.count / options.shared;
    let plan = Plan { address: target.address, shared: options.shared, ttft: Duration::from_millis(options.ttft_ms) };
    let (next, mut workers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..options.concurrency.div_ceil(options.shared) {
        let (next, mut prompt, departures) = (Arc::clone(&next), prompt.clone(), departures.clone());
        workers.spawn(async move {
            let mut errors = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < groups {
                errors.extend(group(plan, Arc::from(prompt.fresh()), &departures).await);
            }
            errors
        });
    }
    let mut errors = Vec::new();
    while let Some(worker) = workers.join_next().await {
        errors.extend(worker?);
    }
    Ok(errors)
}
