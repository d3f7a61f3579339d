//! What a machine has shown so far: a file in the repository for each class of machines, which a new result is held
//! against.
//!
//! It keeps of each run what comparing needs: the histograms whole, and the timeline in a dozen parts, which are enough
//! for the errors of a comparison. A run then takes some tens of kilobytes, however long it was.

mod command;
mod thin;

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use command::Args;
pub use thin::thin;

use super::files;
use super::merge::merge;
use super::result::Run;

pub const FORMAT: &str = "outrigger-baseline/1";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub format: String,
    /// The class of machine, which is the file's name too.
    pub machine: String,
    /// Oldest first.
    pub runs: Vec<Run>,
}

impl Baseline {
    pub fn path(folder: &Path, class: &str) -> PathBuf {
        folder.join(format!("{class}.json"))
    }

    /// None where there is no file for the class yet.
    pub fn read(folder: &Path, class: &str) -> anyhow::Result<Option<Baseline>> {
        let path = Baseline::path(folder, class);
        if !path.try_exists().with_context(|| format!("{} cannot be read", path.display()))? {
            return Ok(None);
        }
        let baseline: Baseline =
            files::parse(&files::read(&path)?).with_context(|| format!("{} is no baseline", path.display()))?;
        let format = &baseline.format;
        anyhow::ensure!(format == FORMAT, "{}: format: {format:?} is not {FORMAT:?}", path.display());
        Ok(Some(baseline))
    }

    pub fn new(class: &str) -> Baseline {
        Baseline { format: FORMAT.to_owned(), machine: class.to_owned(), runs: Vec::new() }
    }

    /// Of each scenario the latest `keep` stay. A run that is not to be believed is refused.
    pub fn add(&mut self, run: &Run, keep: usize) -> anyhow::Result<()> {
        let (ours, theirs) = (&self.machine, &run.machine.class);
        anyhow::ensure!(ours == theirs, "machine: a run on {theirs} is none of {ours}");
        anyhow::ensure!(run.cut_short.is_none(), "cut_short: a partial run is no measure");
        anyhow::ensure!(run.invalid.is_empty(), "invalid: {}", run.invalid.join("; "));
        self.runs.push(thin(run)?);
        self.runs.sort_by(|one, other| one.started_at.cmp(&other.started_at));
        let mut left = self.of(&run.name).count();
        self.runs.retain(|known| {
            let surplus = known.name == run.name && left > keep;
            left -= usize::from(surplus);
            !surplus
        });
        Ok(())
    }

    pub fn of(&self, scenario: &str) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.name == scenario)
    }

    /// All runs of a scenario as one; none where there is none.
    pub fn merged(&self, scenario: &str) -> anyhow::Result<Option<Run>> {
        let runs: Vec<Run> = self.of(scenario).cloned().collect();
        if runs.is_empty() { Ok(None) } else { merge(&runs).map(Some) }
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let path = Baseline::path(folder, &self.machine);
        files::write(&path, &serde_json::to_string_pretty(self)?)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests;
