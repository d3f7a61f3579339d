//! Where results go, and who watches while they are made.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::load::live::{Observer, Snapshot};
use crate::load::metrics::Metrics;
use crate::load::progress::Progress;
use crate::load::report;
use crate::load::result::Run;

/// Files of a single run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct Files {
    /// Write the whole result, which compares, merges and renders again.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the timeline, a row a slice.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write one HTML file with charts.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Figures while a run lasts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "While it runs")]
pub struct Watching {
    /// Serve live figures at http://ADDRESS/metrics.
    #[arg(long, value_name = "ADDRESS")]
    pub prometheus: Option<SocketAddr>,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl Files {
    /// Before an hour's run is lost for a folder that is not there.
    pub fn check(&self) -> anyhow::Result<()> {
        let named = [("--json", &self.json), ("--csv", &self.csv), ("--html", &self.html)];
        named.iter().filter_map(|(option, file)| Some((option, file.as_ref()?))).try_for_each(|(option, file)| {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            anyhow::ensure!(folder.is_dir(), "{option} {}: there is no folder {}", file.display(), folder.display());
            Ok(())
        })
    }

    pub fn write(&self, run: &Run) -> anyhow::Result<()> {
        self.json.iter().try_for_each(|file| write(file, &report::json(run)?))?;
        self.csv.iter().try_for_each(|file| write(file, &report::csv(run)?))?;
        self.html.iter().try_for_each(|file| write(file, &report::html(run)?))
    }
}

impl Watching {
    pub fn observer(&self) -> anyhow::Result<Observers> {
        let progress = if self.quiet { None } else { Some(Progress::stderr()?) };
        Ok(Observers { progress, metrics: self.prometheus.map(Metrics::serve).transpose()? })
    }
}

/// Everyone who watches.
pub struct Observers {
    progress: Option<Progress>,
    metrics: Option<Metrics>,
}

impl Observer for Observers {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        if let Some(progress) = &mut self.progress {
            progress.snapshot(snapshot);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.snapshot(snapshot);
        }
    }
}

pub fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// To standard output; a reader that has left early is no fault.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
