//! The load tester as a process.

use std::process::ExitCode;

use clap::Parser;
use outrigger_loadtests::load::{baseline, compare, history, merge};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load for any OpenAI-compatible endpoint, with verdicts that can be believed.
#[derive(Parser)]
enum Command {
    Compare(compare::Args),
    Changes(history::Args),
    Baseline(baseline::Args),
    Merge(merge::Args),
}

fn main() -> ExitCode {
    let ending = match Command::parse() {
        Command::Compare(args) => args.run(),
        Command::Changes(args) => args.run(),
        Command::Baseline(args) => args.run(),
        Command::Merge(args) => args.run(),
    };
    match ending {
        Ok(ending) => ending.into(),
        Err(error) => {
            eprintln!("outrigger-load: {error:#}");
            ExitCode::from(2)
        }
    }
}
