//! `outrigger-load matrix`: every route by every size of body by every concurrency, in turns.

mod cell;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Watching, print, write};
use super::target::{Named, check};
use crate::load::drive::{Conditions, drive};
use crate::load::figures::FIGURES;
use crate::load::report;
use crate::load::result::{Machine, Run};
use crate::load::turns::{Spread, order};
use cell::{Answer, Cell, Length};

#[derive(Args, Clone, Debug)]
pub struct Matrix {
    /// The simulator, or what stands before one; repeat it to compare.
    #[arg(long = "target", required = true, value_name = "[NAME=]URL[,PID]")]
    targets: Vec<Named>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "json,stream,rate-limited,error,malformed")]
    routes: Vec<Answer>,
    /// Bytes of a body.
    #[arg(long, value_delimiter = ',', default_value = "1024,32768,262144", value_name = "BYTES")]
    sizes: Vec<NonZeroUsize>,
    /// Users of the closed loop.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128", value_name = "COUNT")]
    concurrency: Vec<NonZeroUsize>,
    /// Of each cell and target, in turns.
    #[arg(long, default_value = "5", value_name = "COUNT")]
    runs: NonZeroUsize,
    /// Of each run, after its warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0.5)]
    warmup_seconds: f64,
    #[arg(long, default_value = "1", value_name = "COUNT")]
    threads: NonZeroUsize,
    /// Write every row.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    watching: Watching,
}

#[derive(Debug, Serialize)]
struct Result {
    machine: Machine,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    target: String,
    route: &'static str,
    body_bytes: usize,
    concurrency: usize,
    figure: &'static str,
    runs: usize,
    median: f64,
    lower_quartile: f64,
    upper_quartile: f64,
    min: f64,
    max: f64,
    /// Of all runs of this cell.
    failed: u64,
}

impl Matrix {
    pub async fn run(&self) -> anyhow::Result<Exit> {
        check(&self.targets)?;
        let cells = self.cells();
        let turns = cells.len() * self.targets.len();
        let mut runs: Vec<Vec<Run>> = (0..turns).map(|_| Vec::new()).collect();
        let mut exit = Exit::Passed;
        'rounds: for round in 0..self.runs.get() {
            for turn in order(round, turns) {
                let (cell, target) = (&cells[turn / self.targets.len()], &self.targets[turn % self.targets.len()]);
                let scenario = cell.scenario(target, Length { warmup: self.warmup_seconds, seconds: self.seconds })?;
                let conditions = Conditions { threads: self.threads, label: Some(target.name.clone()) };
                let finished = drive(&scenario, &conditions, &mut self.watching.observer()?).await?;
                let ended = Exit::of(&finished);
                self.complain(&finished.run, ended)?;
                exit = exit.and(ended);
                runs[turn].push(finished.run);
                if !ended.goes_on() {
                    break 'rounds;
                }
            }
        }
        self.tell(&cells, &runs)?;
        Ok(exit)
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for answer in &self.routes {
            for body_bytes in &self.sizes {
                let cell = |concurrency: &NonZeroUsize| Cell {
                    answer: *answer,
                    body_bytes: body_bytes.get(),
                    concurrency: concurrency.get(),
                };
                cells.extend(self.concurrency.iter().map(cell));
            }
        }
        cells
    }

    fn complain(&self, run: &Run, exit: Exit) -> anyhow::Result<()> {
        if exit == Exit::Passed {
            return Ok(());
        }
        let (target, cell) = (run.label.as_deref().unwrap_or_default(), &run.name);
        print(&format!("{target}, {cell}: {} {:?}\n", report::Verdict::of(run), run.errors))
    }

    fn tell(&self, cells: &[Cell], runs: &[Vec<Run>]) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        for (turn, runs) in runs.iter().enumerate() {
            let (cell, target) = (&cells[turn / self.targets.len()], &self.targets[turn % self.targets.len()]);
            rows.extend(FIGURES.iter().filter_map(|figure| {
                let values: Vec<f64> = runs.iter().filter_map(figure.of).collect();
                let spread = Spread::of(&values)?;
                Some(row(cell, target, figure.name, (spread, runs)))
            }));
        }
        print(&table(&rows))?;
        if let Some(file) = &self.csv {
            write(file, &csv(&rows)?)?;
        }
        if let Some(file) = &self.json {
            write(file, &(serde_json::to_string_pretty(&Result { machine: Machine::current(), rows })? + "\n"))?;
        }
        Ok(())
    }
}

fn row(cell: &Cell, target: &Named, figure: &'static str, (spread, runs): (Spread, &[Run])) -> Row {
    let Spread { median, lower_quartile, upper_quartile, min, max } = spread;
    Row {
        target: target.name.clone(),
        route: cell.answer.name(),
        body_bytes: cell.body_bytes,
        concurrency: cell.concurrency,
        figure,
        runs: runs.len(),
        median,
        lower_quartile,
        upper_quartile,
        min,
        max,
        failed: runs.iter().map(|run| run.counts.failed).sum(),
    }
}

fn csv(rows: &[Row]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A line a cell and target, with the figures that every cell has: medians, and the spread of the rate.
fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<14}{:<14}{:>8}{:>6}{:>12}{:>20}{:>10}{:>10}{:>8}\n",
        "target", "route", "bytes", "users", "requests/s", "min to max", "p50 ms", "p99 ms", "failed"
    );
    for row in rows.iter().filter(|row| row.figure == FIGURES[0].name) {
        let same = |other: &&Row| {
            (&other.target, other.route, other.body_bytes, other.concurrency)
                == (&row.target, row.route, row.body_bytes, row.concurrency)
        };
        let of =
            |figure: &str| rows.iter().filter(same).find(|row| row.figure == figure).map_or(f64::NAN, |row| row.median);
        let range = format!("{:.0} to {:.0}", row.min, row.max);
        text += &format!(
            "{:<14}{:<14}{:>8}{:>6}{:>12.0}{range:>20}{:>10.3}{:>10.3}{:>8}\n",
            row.target,
            row.route,
            row.body_bytes,
            row.concurrency,
            row.median,
            of("p50_end_to_end_ms"),
            of("p99_end_to_end_ms"),
            row.failed,
        );
    }
    text
}
