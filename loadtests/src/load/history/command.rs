//! `outrigger-load changes HISTORY`.

use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::{Change, Changes, read};
use crate::load::ending::Ending;
use crate::load::files;
use crate::stats::change_points::Options;

/// Where the figures of a history of runs went over to another level, and from what to what.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A folder of results, a file with one result a line (.jsonl), a baseline, or JSON of plain numbers by name.
    pub history: PathBuf,
    /// How many runs are looked at together.
    #[arg(long, default_value_t = Options::default().window, value_parser = window)]
    pub window: usize,
    /// How probable a change may be where there is none.
    #[arg(long, default_value_t = Options::default().alpha)]
    pub alpha: f64,
    /// The least change that is told, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub min_magnitude: f64,
    /// End with 1 where a figure became worse within so many of the latest runs.
    #[arg(long, value_name = "RUNS")]
    pub fail_within: Option<usize>,
    /// Write the changes as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Args {
    pub fn run(&self) -> anyhow::Result<Ending> {
        let options = Options { window: self.window, alpha: self.alpha, min_magnitude: self.min_magnitude / 100.0 };
        let changes: Vec<Changes> = read(&self.history)?.iter().map(|series| series.changes(options)).collect();
        if let Some(path) = &self.json {
            files::write(path, &serde_json::to_string_pretty(&changes)?)?;
        }
        print(&changes)?;
        let recent = self.fail_within.is_some_and(|runs| changes.iter().any(|changes| changes.worse_within(runs)));
        Ok(if recent { Ending::Worse } else { Ending::Fine })
    }
}

impl Changes {
    fn worse_within(&self, runs: usize) -> bool {
        self.changes.iter().any(|change| change.worse == Some(true) && change.point.index + runs >= self.runs)
    }
}

fn print(changes: &[Changes]) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    let changed = changes.iter().filter(|changes| !changes.changes.is_empty());
    for changes in changed.clone() {
        write!(output, "{changes}").context("standard output is closed")?;
    }
    let count = changed.count();
    writeln!(output, "{count} of {} series changed", changes.len()).context("standard output is closed")
}

impl Display for Changes {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}, {} runs", self.name, self.runs)?;
        self.changes.iter().try_for_each(|change| writeln!(formatter, "  {change}"))
    }
}

impl Display for Change {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let point = &self.point;
        let verdict = match self.worse {
            Some(true) => ", worse",
            Some(false) => ", better",
            None => "",
        };
        let percent = if point.before == 0.0 { 0.0 } else { (point.after / point.before - 1.0) * 100.0 };
        write!(
            formatter,
            "at run {} ({}): {:.4} -> {:.4} ({percent:+.1} %){verdict}, p {:.1e}",
            point.index, self.run, point.before, point.after, point.p_value
        )
    }
}

fn window(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(runs) if runs >= 2 => Ok(runs),
        _ => Err("not a number of runs of at least 2".to_owned()),
    }
}
