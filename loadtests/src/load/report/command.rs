//! `outrigger-load report`: what was measured once, rendered again.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::load::result::{FORMAT, Run};

#[derive(Args, Clone, Debug)]
pub struct Report {
    /// Results that `--json` wrote; several are put beside each other.
    #[arg(required = true, value_name = "FILE.json")]
    pub files: Vec<PathBuf>,
    /// Write one HTML file with charts of them all.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the timeline, a row a slice; of one result only.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write every figure as metric,statistic,value; of one result only.
    #[arg(long, value_name = "FILE")]
    pub csv_summary: Option<PathBuf>,
}

impl Report {
    /// Prints the text of each result, and writes the files that were asked for.
    pub fn run(&self) -> anyhow::Result<()> {
        let runs = self.files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<Run>>>()?;
        for (option, file) in [("--csv", &self.csv), ("--csv-summary", &self.csv_summary)] {
            if file.is_some() && runs.len() > 1 {
                bail!("{option} writes one result: name one file instead of {}", runs.len());
            }
        }
        if let Some(file) = &self.html {
            write(file, &super::html_many(&runs)?)?;
        }
        for run in &runs {
            self.csv.iter().try_for_each(|file| write(file, &super::csv(run)?))?;
            self.csv_summary.iter().try_for_each(|file| write(file, &super::csv_summary(run)?))?;
        }
        print(&runs.iter().map(super::text).collect::<Vec<_>>().join("\n"))
    }
}

/// A result file, or what is wrong with it and where.
pub fn read(file: &Path) -> anyhow::Result<Run> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    let value: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
    match value.get("format").and_then(serde_json::Value::as_str) {
        Some(FORMAT) => {}
        Some(format) => {
            bail!("{name} has the format {format:?}; this version reads {FORMAT:?}: run the scenario again")
        }
        None => bail!("{name} is no result of outrigger-load: it has no \"format\". Name a file that --json wrote"),
    }
    let run = serde_path_to_error::deserialize(value);
    run.map_err(|error| anyhow::anyhow!("{name}: {}: {}", error.path(), error.inner()))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("the text cannot be printed")
        }
        _ => Ok(()),
    }
}
