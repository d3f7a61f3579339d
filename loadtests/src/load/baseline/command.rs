//! `outrigger-load baseline add RESULT...` and `outrigger-load baseline check RESULT...`.

use std::path::PathBuf;

use anyhow::Context;

use super::Baseline;
use crate::load::compare::{Judging, compare};
use crate::load::ending::Ending;
use crate::load::files;

/// The baselines of this repository, one file for each class of machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
    /// The folder of the baselines.
    #[arg(long, global = true, value_name = "FOLDER", default_value = "loadtests/baselines")]
    pub baselines: PathBuf,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Keep results as what later ones are held against.
    Add {
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// How many runs of a scenario stay, the latest ones.
        #[arg(long, default_value_t = 10, value_name = "RUNS")]
        keep: usize,
    },
    /// Hold results against the baseline of their machine. Ends as `compare` does.
    Check {
        #[arg(required = true)]
        results: Vec<PathBuf>,
        #[command(flatten)]
        judging: Judging,
    },
}

impl Args {
    pub fn run(&self) -> anyhow::Result<Ending> {
        match &self.action {
            Action::Add { results, keep } => self.add(results, *keep),
            Action::Check { results, judging } => self.check(results, judging),
        }
    }

    fn add(&self, results: &[PathBuf], keep: usize) -> anyhow::Result<Ending> {
        for result in results {
            let run = files::read_run(result)?;
            let class = &run.machine.class;
            let mut baseline = Baseline::read(&self.baselines, class)?.unwrap_or_else(|| Baseline::new(class));
            baseline.add(&run, keep).with_context(|| result.display().to_string())?;
            baseline.write(&self.baselines)?;
        }
        Ok(Ending::Fine)
    }

    /// The worst of all is what it ends with.
    fn check(&self, results: &[PathBuf], judging: &Judging) -> anyhow::Result<Ending> {
        let mut endings = Vec::new();
        for result in results {
            let run = files::read_run(result)?;
            let (class, name) = (&run.machine.class, &run.name);
            let baseline = Baseline::read(&self.baselines, class)?;
            let before = baseline.map(|baseline| baseline.merged(name)).transpose()?.flatten();
            let before = before.with_context(|| {
                let path = Baseline::path(&self.baselines, class);
                format!(
                    "{} holds no run of the scenario {name}; make one with `outrigger-load baseline add {}`",
                    path.display(),
                    result.display()
                )
            })?;
            endings.push(judging.conclude(&compare(&before, &run, &judging.options())?, None)?);
        }
        let any = |ending| endings.contains(&ending);
        Ok(match () {
            () if any(Ending::Worse) => Ending::Worse,
            () if any(Ending::Unusable) => Ending::Unusable,
            () => Ending::Fine,
        })
    }
}
