//! The command line of `outrigger-load`.

mod ab;
mod ceiling;
mod exit;
mod matrix;
mod output;
mod run;
mod search;
mod target;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// Puts an OpenAI-compatible endpoint under load, and says whether it is fast, whole, and as good as it was.
///
/// Ends with 0 where everything passed, 1 where a level was missed, a stream was not whole or the figures are not to be
/// believed, 2 where something is wrong with what was asked or the target cannot be reached, 3 where the target died in
/// mid-run, and 130 where it was interrupted; what was measured until then is written all the same.
#[derive(Debug, Parser)]
#[command(name = "outrigger-load", version)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario and judge it.
    Run(run::Run),
    /// Two targets or more in turns, and how they compare.
    Ab(ab::Ab),
    /// Every route by every size of body by every concurrency.
    Matrix(matrix::Matrix),
    /// The highest rate that meets a scenario's levels.
    Search(search::Search),
    /// What the load tester itself can do on this machine.
    Ceiling(ceiling::Ceiling),
    /// Two results, or two sets of them, and whether it got worse.
    Compare(super::compare::Args),
    /// Where a history of results changed.
    Changes(super::history::Args),
    /// The baseline of a class of machines: add results to it, or check them against it.
    Baseline(super::baseline::Args),
    /// Several results of a scenario as one.
    Merge(super::merge::Args),
    /// Show results again: as text, CSV or HTML.
    Report(super::report::command::Report),
    /// The JSON schema of a result.
    Schema,
}

/// Runs the command; an error is always one of input, and says what to do.
pub async fn run(options: Options) -> anyhow::Result<Exit> {
    crate::wire::files::raise_limit();
    match options.command {
        Command::Run(command) => command.run().await,
        Command::Ab(command) => command.run().await,
        Command::Matrix(command) => command.run().await,
        Command::Search(command) => command.run().await,
        Command::Ceiling(command) => command.run().await,
        Command::Compare(command) => command.run().map(Exit::from),
        Command::Changes(command) => command.run().map(Exit::from),
        Command::Baseline(command) => command.run().map(Exit::from),
        Command::Merge(command) => command.run().map(Exit::from),
        Command::Report(command) => command.run().map(|()| Exit::Passed),
        Command::Schema => output::print(&super::report::schema()?).map(|()| Exit::Passed),
    }
}
