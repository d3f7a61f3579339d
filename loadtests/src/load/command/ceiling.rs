//! `outrigger-load ceiling`: what the load tester itself can do here, so that nobody takes its limits for a target's.

use std::num::NonZeroUsize;
use std::path::Path;

use clap::Args;

use super::exit::Exit;
use super::output::{Files, Watching, print};
use crate::load::drive::{Conditions, drive};
use crate::load::report;
use crate::load::result::{Metric, Run};
use crate::load::scenario::Scenario;
use crate::sim;
use crate::wire::process::cpu_nanoseconds;

#[derive(Args, Clone, Debug)]
pub struct Ceiling {
    /// A server that answers faster than it is asked; without one, a simulator on a thread beside the load.
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    #[arg(long, default_value = "1", value_name = "COUNT")]
    threads: NonZeroUsize,
    /// At once, in the closed loop.
    #[arg(long, default_value = "32", value_name = "COUNT")]
    users: NonZeroUsize,
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    body_bytes: usize,
    /// Requests a second in the open loop, of which the lag is told.
    #[arg(long, default_value_t = 2000.0, value_name = "NUMBER")]
    rate: f64,
    /// Of each of the two.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    watching: Watching,
}

impl Ceiling {
    pub async fn run(&self) -> anyhow::Result<Exit> {
        self.files.check()?;
        let simulator = if self.target.is_none() { Some(sim::Beside::start()?) } else { None };
        let url = self.target.clone().or_else(|| simulator.as_ref().map(|simulator| simulator.url.clone()));
        let url = url.unwrap_or_default();
        let closed = format!("model = \"closed\"\nusers = {}", self.users);
        let (run, exit, own) = self.measure(&url, &closed).await?;
        let mut words = format!(
            "closed loop, {} users, {} bytes: {:.0} requests a second{}\n",
            self.users,
            self.body_bytes,
            run.rates.requests,
            // Beside a simulator of the same process the CPU is that of both.
            if simulator.is_some() { String::new() } else { format!(", {own:.1} µs of CPU a request") },
        );
        let open = format!("model = \"constant\"\nrate = {}", self.rate);
        let (lagged, other, _) = self.measure(&url, &open).await?;
        if let Some(lag) = lagged.latencies.get(&Metric::ScheduleLag) {
            let (rate, p50, p99, max) = (self.rate, lag.p50, lag.p99, lag.max);
            words += &format!(
                "open loop, {rate} requests a second: sent {p50:.3} ms late at p50, {p99:.3} ms at p99, {max:.3} ms at most\n"
            );
        }
        print(&words)?;
        self.files.write(&run)?;
        Ok(exit.and(other))
    }

    /// The result, and the CPU of this process a request, in microseconds.
    async fn measure(&self, url: &str, load: &str) -> anyhow::Result<(Run, Exit, f64)> {
        let text = format!(
            "name = \"ceiling\"\nwarmup_secs = 1\n[target]\nurl = {url:?}\n[load]\n{load}\nduration_secs = {}\n\
             [[requests]]\nbody_bytes = {}",
            self.seconds, self.body_bytes
        );
        let scenario = Scenario::parse(&text, Path::new("ceiling"))?;
        let conditions = Conditions { threads: self.threads, label: None };
        let before = cpu_nanoseconds(std::process::id())?;
        let finished = drive(&scenario, &conditions, &mut self.watching.observer()?).await?;
        let used = cpu_nanoseconds(std::process::id())?.saturating_sub(before) as f64 / 1e3;
        let exit = Exit::of(&finished);
        if exit != Exit::Passed {
            print(&report::text(&finished.run))?;
        }
        let seconds = self.seconds / (self.seconds + scenario.warmup_secs);
        let requests = finished.run.counts.sent.max(1) as f64;
        Ok((finished.run, exit, used * seconds / requests))
    }
}
