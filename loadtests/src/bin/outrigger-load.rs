//! The load tester as a process.

use std::process::ExitCode;

use clap::Parser;
use outrigger_loadtests::load::command::{Exit, Options, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    // It only watches: the load has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(options)));
    ended.map_or_else(complain, ExitCode::from)
}

#[expect(clippy::print_stderr, reason = "a process says on standard error why it failed")]
fn complain(error: anyhow::Error) -> ExitCode {
    eprintln!("outrigger-load: {error:#}");
    ExitCode::from(Exit::Input)
}
