//! `outrigger-load run`: one scenario, one verdict.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::output::{Files, Watching, print};
use crate::load::drive::{Conditions, drive};
use crate::load::report;
use crate::load::scenario::{Overrides, Scenario};
use crate::load::stress::stress;

#[derive(Args, Clone, Debug)]
pub struct Run {
    /// What is sent where and when, and the levels that it is held to.
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Threads that send; each has connections of its own.
    #[arg(long, default_value = "1", value_name = "COUNT")]
    threads: NonZeroUsize,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    watching: Watching,
}

impl Run {
    pub async fn run(&self) -> anyhow::Result<Exit> {
        self.files.check()?;
        let mut scenario = Scenario::read(&self.scenario)?;
        self.overrides.apply(&mut scenario)?;
        let conditions = Conditions { threads: self.threads, label: None };
        let mut observer = self.watching.observer()?;
        let finished = if scenario.stops_at_a_missed_level() {
            stress(&scenario, &conditions, &mut observer).await?
        } else {
            drive(&scenario, &conditions, &mut observer).await?
        };
        drop(observer);
        print(&report::text(&finished.run))?;
        self.files.write(&finished.run)?;
        Ok(Exit::of(&finished))
    }
}
