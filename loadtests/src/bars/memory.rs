//! Resident memory of each target, as it is now.

use clap::Args;

use super::limit::Limit;
use super::report::Report;
use super::rounds::Rounds;
use crate::wire::process::resident_mib;
use crate::wire::target::Target;

const RESIDENT: &str = "resident MiB";

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL,PID; repeat it.
    #[arg(long = "target", required = true)]
    targets: Vec<Target>,
    /// The target that ratios refer to.
    #[arg(long)]
    base: Option<String>,
    /// NAME=MIB: its memory at most.
    #[arg(long)]
    max_mib: Vec<Limit>,
}

pub fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.targets, options.base.as_deref())?;
    for (place, target) in options.targets.iter().enumerate() {
        if let Some(process) = target.process {
            rounds.record(RESIDENT, place, resident_mib(process)?);
        }
    }
    let mut report = Report::new("memory", &rounds);
    for limit in &options.max_mib {
        report.bar(limit.at_most(&rounds, RESIDENT, &options.targets)?);
    }
    Ok(report)
}
