//! Backends that die without warning: what the clients of the proxy before them see of it.
//!
//! Load comes at a constant rate, half of it streams, while one simulator after the other is killed and started again.
//! Generations are short, so that few are in the middle when their backend dies: those cannot be saved, because a client
//! has seen their beginning. They count as errors like all others. An answer that breaks at another time, or beyond those
//! that the dying backend had, was on the healthy one.

mod backend;
mod death;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::arrivals::{Arrivals, Outcome};
use super::latencies::Latencies;
use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::Rounds;
use crate::wire::prompt::Shape;
use crate::wire::target::Target;
use backend::{Backend, Place};
use death::{Death, p99};

const ERRORS: &str = "errors a death";
const RATIO: &str = "p99 after by before";
/// Beyond this the schedule was not kept, and the run is invalid.
const MOST_LAG_US: f64 = 10_000.0;

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL of the proxy.
    #[arg(long)]
    target: Target,
    /// NAME=URL,PID of a simulator behind it; repeat it. Without a process it is started there.
    #[arg(long = "backend", required = true)]
    backends: Vec<Place>,
    /// What is started; by default the one beside this program.
    #[arg(long)]
    sim_binary: Option<PathBuf>,
    /// Requests a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    #[arg(long, default_value_t = 4)]
    deaths: u32,
    /// Before the first death.
    #[arg(long, default_value_t = 8.0)]
    before_seconds: f64,
    /// How long a backend stays dead.
    #[arg(long, default_value_t = 4.0)]
    down_seconds: f64,
    /// From its coming back to the next one's death.
    #[arg(long, default_value_t = 6.0)]
    up_seconds: f64,
    /// After a death, until all must be as before.
    #[arg(long, default_value_t = 2.0)]
    settle_seconds: f64,
    #[arg(long, default_value_t = 20)]
    ttft_ms: u64,
    #[arg(long, default_value_t = 2)]
    gap_ms: u64,
    #[arg(long, default_value_t = 4)]
    tokens: u64,
    /// NAME=COUNT: errors that clients see for one death, in the worst.
    #[arg(long)]
    max_errors: Vec<Limit>,
    /// NAME=RATIO: the latency at p99 once it has settled, by that before the first death, in the median.
    #[arg(long)]
    max_p99_ratio: Vec<Limit>,
}

impl Options {
    fn binary(&self) -> anyhow::Result<PathBuf> {
        match &self.sim_binary {
            Some(binary) => Ok(binary.clone()),
            None => Ok(std::env::current_exe()?.parent().context("this program lies nowhere")?.join("outrigger-sim")),
        }
    }

    fn period(&self) -> f64 {
        self.down_seconds + self.up_seconds
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.before_seconds + f64::from(self.deaths) * self.period())
    }
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut backends = Vec::new();
    for place in &options.backends {
        backends.push(Backend::new(place.clone(), options.binary()?).await?);
    }
    let sim = json!({"ttft_ms": options.ttft_ms, "gap_ms": options.gap_ms, "tokens": options.tokens});
    let shapes = [true, false].map(|stream| Shape { stream, sim: sim.clone(), ..Shape::default() });
    let mut arrivals = Arrivals::new(options.target.address, &shapes)?;
    drop(arrivals.run(options.rate, Duration::from_secs(1)).await?);
    let start = Instant::now();
    let (outcomes, deaths) =
        tokio::join!(arrivals.run(options.rate, options.duration()), kill_in_turn(options, &mut backends, start));
    judge(options, &outcomes?, &deaths?, start)
}

/// One after the other, and each comes back before the next goes.
async fn kill_in_turn(options: &Options, backends: &mut [Backend], start: Instant) -> anyhow::Result<Vec<Death>> {
    let mut deaths = Vec::new();
    let count = backends.len();
    for number in 0..options.deaths {
        let backend = &mut backends[number as usize % count];
        let due = options.before_seconds + f64::from(number) * options.period();
        sleep_until(start + Duration::from_secs_f64(due)).await;
        let active = backend.counts().await?.active;
        let at = Instant::now();
        backend.kill()?;
        deaths.push(Death { at, active, backend: backend.name().to_owned() });
        sleep_until(at + Duration::from_secs_f64(options.down_seconds)).await;
        backend.start().await?;
    }
    Ok(deaths)
}

fn judge(options: &Options, outcomes: &[Outcome], deaths: &[Death], start: Instant) -> anyhow::Result<Report> {
    let targets = std::slice::from_ref(&options.target);
    let mut rounds = Rounds::new(targets, None)?;
    let first = deaths.first().map_or(start + options.duration(), |death| death.at);
    let before = p99(outcomes, start, first)?;
    rounds.record("latency p99 us, before", 0, before);
    let (mut worst, mut elsewhere) = (0, death::errors(outcomes, start, first).count() as u64);
    let mut notes = Vec::new();
    for (number, death) in deaths.iter().enumerate() {
        let next = deaths.get(number + 1).map_or(start + options.duration(), |next| next.at);
        let errors: Vec<&Outcome> = death::errors(outcomes, death.at, next).collect();
        worst = worst.max(errors.len() as u64);
        elsewhere += death.broken_elsewhere(&errors);
        let after = p99(outcomes, death.at + Duration::from_secs_f64(options.settle_seconds), next)?;
        rounds.record(ERRORS, 0, errors.len() as f64);
        rounds.record("active on the dying one", 0, death.active as f64);
        rounds.record("latency p99 us, after", 0, after);
        rounds.record(RATIO, 0, after / before);
        notes.extend(errors.first().map(|one| format!("{} died: {:?}", death.backend, one.end)));
    }
    let mut report = Report::new("failover", &rounds);
    notes.into_iter().take(5).for_each(|note| report.note(note));
    let lag = Latencies::of(outcomes.iter().map(|one| one.lag))?.p99();
    report.bar(Bar::at_most("schedule lag p99 us".to_owned(), Some(lag), MOST_LAG_US));
    report.bar(Bar::exactly("errors that no death explains".to_owned(), elsewhere, 0));
    for limit in &options.max_errors {
        let text = format!("errors in the worst death: {}", limit.target());
        report.bar(Bar::at_most(text, Some(worst as f64), limit.value));
    }
    for limit in &options.max_p99_ratio {
        report.bar(limit.at_most(&rounds, RATIO, targets)?);
    }
    Ok(report)
}
