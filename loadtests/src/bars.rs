//! Load that holds a proxy to its bars, side by side with a yardstick and with no proxy at all.
//!
//! A scenario runs its targets in rounds, in an order that rotates, so that what the machine does meanwhile
//! falls on all of them; figures are medians over the rounds, and ratios are taken within each round.
//! Every body is unique unless a scenario is about equal ones, and every answer is checked.

mod aborts;
mod arrivals;
mod constant_rate;
mod cost;
mod failover;
mod herd;
mod latencies;
mod limit;
mod memory;
mod open;
mod overload;
mod report;
mod rounds;
mod slow_reader;
mod slowloris;
mod streams;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use report::Report;

/// Puts a proxy under load and holds it to its bars; ends with 1 where one is missed.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Also write the report as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// What a request costs: closed loop, unique bodies, plain JSON.
    Cost(cost::Options),
    /// What a request waits: open loop at a constant rate, latency from the intended send time.
    Open(open::Options),
    /// Many streams at once: time to first token, CPU an event, integrity, memory.
    Streams(streams::Options),
    /// Equal requests at once: one generation, the same bytes for everyone.
    Herd(herd::Options),
    /// Clients that leave: how soon the generation is cancelled, and that none is forgotten.
    Aborts(aborts::Options),
    /// One reader of a shared answer that hardly reads: what the others feel of it.
    SlowReader(slow_reader::Options),
    /// Heads that never end: when they are cut off, and what a good client feels of them.
    Slowloris(slowloris::Options),
    /// More than the backend can do: goodput, refusals, and how soon all is well again.
    Overload(overload::Options),
    /// Backends that die: what clients see of it.
    Failover(failover::Options),
    /// Resident memory, now.
    Memory(memory::Options),
}

/// Runs the scenario and prints its report; false where a bar is missed.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    crate::wire::files::raise_limit();
    let report = match options.scenario {
        Scenario::Cost(options) => cost::run(&options).await,
        Scenario::Open(options) => open::run(&options).await,
        Scenario::Streams(options) => streams::run(&options).await,
        Scenario::Herd(options) => herd::run(&options).await,
        Scenario::Aborts(options) => aborts::run(&options).await,
        Scenario::SlowReader(options) => slow_reader::run(&options).await,
        Scenario::Slowloris(options) => slowloris::run(&options).await,
        Scenario::Overload(options) => overload::run(&options).await,
        Scenario::Failover(options) => failover::run(&options).await,
        Scenario::Memory(options) => memory::run(&options),
    }?;
    print(&report)?;
    if let Some(file) = options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(report.met())
}

fn print(report: &Report) -> std::io::Result<()> {
    use std::io::Write;
    write!(std::io::stdout().lock(), "{report}")
}
