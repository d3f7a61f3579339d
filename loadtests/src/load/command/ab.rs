//! `outrigger-load ab`: targets in turns, slice by slice, and what each is to the first.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Watching, print, write};
use super::target::{Named, check};
use crate::load::drive::{Conditions, drive};
use crate::load::figures::FIGURES;
use crate::load::report;
use crate::load::result::Run;
use crate::load::scenario::{Overrides, Scenario};
use crate::load::turns::{Ratio, Spread, order};

#[derive(Args, Clone, Debug)]
pub struct Ab {
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Two or more; ratios are to the first.
    #[arg(long = "target", required = true, value_name = "NAME=URL[,PID]")]
    targets: Vec<Named>,
    /// How many turns each target has.
    #[arg(long, default_value = "10", value_name = "COUNT")]
    rounds: NonZeroUsize,
    /// How long a turn lasts, without the warm-up.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    slice_secs: f64,
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    confidence: f64,
    #[arg(long, default_value = "1", value_name = "COUNT")]
    threads: NonZeroUsize,
    /// Write the ratios, and every turn's whole result.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one HTML file with charts of all targets.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    watching: Watching,
}

/// How the targets compare.
#[derive(Debug, Serialize)]
pub struct Comparison {
    scenario: String,
    confidence: f64,
    rows: Vec<Row>,
    /// By target, in the order of the rounds.
    runs: Vec<Vec<Run>>,
}

#[derive(Debug, Serialize)]
struct Row {
    figure: &'static str,
    target: String,
    #[serde(flatten)]
    spread: Spread,
    /// To the first target; none of itself.
    ratio: Option<Ratio>,
}

impl Ab {
    pub async fn run(&self) -> anyhow::Result<Exit> {
        anyhow::ensure!(self.targets.len() > 1, "a comparison needs two targets; run takes one");
        anyhow::ensure!((0.5..1.0).contains(&self.confidence), "--confidence is a share below 1, such as 0.95");
        check(&self.targets)?;
        let scenario = Scenario::read(&self.scenario)?;
        let mut runs: Vec<Vec<Run>> = self.targets.iter().map(|_| Vec::new()).collect();
        let mut exit = Exit::Passed;
        'rounds: for round in 0..self.rounds.get() {
            for place in order(round, self.targets.len()) {
                let (run, ended) = self.turn(&scenario, round, place).await?;
                exit = exit.and(ended);
                runs[place].push(run);
                if !ended.goes_on() {
                    break 'rounds;
                }
            }
        }
        self.tell(&Comparison { scenario: scenario.name, confidence: self.confidence, rows: self.rows(&runs), runs })?;
        Ok(exit)
    }

    async fn turn(&self, scenario: &Scenario, round: usize, place: usize) -> anyhow::Result<(Run, Exit)> {
        let target = &self.targets[place];
        let mut scenario = scenario.clone();
        let instead = Overrides {
            target: Some(target.url.clone()),
            pid: target.pid,
            seconds: Some(self.slice_secs.to_string().parse().map_err(anyhow::Error::msg).context("--slice-secs")?),
            // Every target meets the same requests within a round, and other ones in the next.
            seed: Some(scenario.seed.wrapping_add(round as u64)),
            ..Overrides::default()
        };
        // A process of the scenario's own is not that of another target.
        scenario.target.pid = None;
        instead.apply(&mut scenario)?;
        let conditions = Conditions { threads: self.threads, label: Some(target.name.clone()) };
        let finished = drive(&scenario, &conditions, &mut self.watching.observer()?).await?;
        let exit = Exit::of(&finished);
        Ok((finished.run, exit))
    }

    fn rows(&self, runs: &[Vec<Run>]) -> Vec<Row> {
        let mut rows = Vec::new();
        for figure in FIGURES {
            let values: Vec<Vec<f64>> = runs.iter().map(|runs| runs.iter().filter_map(figure.of).collect()).collect();
            for (place, target) in self.targets.iter().enumerate() {
                let Some(spread) = Spread::of(&values[place]) else { continue };
                let pairs: Vec<(f64, f64)> = values[0].iter().copied().zip(values[place].iter().copied()).collect();
                let ratio = if place == 0 { None } else { Ratio::of(&pairs, self.confidence, 1) };
                rows.push(Row { figure: figure.name, target: target.name.clone(), spread, ratio });
            }
        }
        rows
    }

    fn tell(&self, comparison: &Comparison) -> anyhow::Result<()> {
        print(&table(comparison))?;
        for run in comparison.runs.iter().flatten() {
            let verdict = report::Verdict::of(run);
            if verdict.outcome != report::Outcome::Passed {
                print(&format!("{}: {verdict}\n", run.label.as_deref().unwrap_or_default()))?;
            }
        }
        if let Some(file) = &self.json {
            write(file, &(serde_json::to_string_pretty(comparison)? + "\n"))?;
        }
        if let Some(file) = &self.html {
            let merged =
                comparison.runs.iter().filter(|runs| !runs.is_empty()).map(|runs| crate::load::merge::merge(runs));
            write(file, &report::html_many(&merged.collect::<anyhow::Result<Vec<Run>>>()?)?)?;
        }
        Ok(())
    }
}

fn table(comparison: &Comparison) -> String {
    let percent = comparison.confidence * 100.0;
    let mut text = format!(
        "{:<30}{:<14}{:>12}{:>12}{:>12}  ratio, {percent:.0} % interval\n",
        "figure", "target", "median", "min", "max"
    );
    for Row { figure, target, spread, ratio } in &comparison.rows {
        let ratio = ratio.map(|ratio| format!("{:.3}x [{:.3}, {:.3}]", ratio.ratio, ratio.low, ratio.high));
        text += &format!(
            "{figure:<30}{target:<14}{:>12.3}{:>12.3}{:>12.3}  {}\n",
            spread.median,
            spread.min,
            spread.max,
            ratio.unwrap_or_default()
        );
    }
    text
}
