//! `outrigger-load compare BEFORE.json AFTER.json`.

use std::path::PathBuf;

use anyhow::Context;

use super::{Comparison, Options, Verdict, compare};
use crate::load::ending::Ending;
use crate::load::files;

/// Whether a run is better than another, the same, or worse, and where. Ends with 0 where nothing is worse, with 1 where
/// something is, and with 2 where the results cannot be compared or believed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The result that is compared with.
    pub before: PathBuf,
    /// The result that is judged.
    pub after: PathBuf,
    #[command(flatten)]
    pub judging: Judging,
    /// Write the comparison as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Shared with `baseline check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Judging {
    /// The least change that is told, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.5, value_parser = percent)]
    pub min_effect: f64,
    /// End with 1 only where something is worse by more than this factor, such as 1.10.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    pub fail_over: f64,
    /// Compare results of different machines or scenarios too.
    #[arg(long)]
    pub force: bool,
    /// Of the bootstrap: the same results and seed make the same figures.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Args {
    pub fn run(&self) -> anyhow::Result<Ending> {
        let (before, after) = (files::read_run(&self.before)?, files::read_run(&self.after)?);
        let comparison = compare(&before, &after, &self.judging.options())?;
        self.judging.conclude(&comparison, self.json.as_deref())
    }
}

impl Judging {
    pub fn options(&self) -> Options {
        Options { min_effect: self.min_effect / 100.0, seed: self.seed, ..Options::default() }
    }

    /// Tells the comparison and what to end with.
    pub fn conclude(&self, comparison: &Comparison, json: Option<&std::path::Path>) -> anyhow::Result<Ending> {
        if !self.force && !comparison.mismatches.is_empty() {
            let mismatches = comparison.mismatches.join("; ");
            anyhow::bail!("these results are not comparable: {mismatches}. Compare like with like, or add --force");
        }
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(comparison).context("the comparison cannot be written as JSON")?;
            files::write(path, &text)?;
        }
        print(comparison)?;
        Ok(self.ending(comparison))
    }

    fn ending(&self, comparison: &Comparison) -> Ending {
        match comparison.verdict {
            Verdict::Degrading if comparison.worst().is_none_or(|worst| worst > self.fail_over) => Ending::Worse,
            _ if !comparison.invalid.is_empty() => Ending::Unusable,
            _ => Ending::Fine,
        }
    }
}

fn print(comparison: &Comparison) -> anyhow::Result<()> {
    use std::io::Write;
    write!(std::io::stdout().lock(), "{comparison}").context("standard output is closed")
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..1000.0).contains(&value) { Ok(value) } else { Err("not a percentage from 0 to 1000".to_owned()) }
}

fn factor(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value >= 1.0 && value.is_finite() {
        Ok(value)
    } else {
        Err("not a factor of at least 1, such as 1.10".to_owned())
    }
}
