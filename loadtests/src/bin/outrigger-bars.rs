//! The load runner as a process: runs one scenario, prints its table, and ends with 1 where a bar is missed.

use std::process::ExitCode;

use clap::Parser;
use outrigger_loadtests::bars::{Options, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    // One thread: what the load takes of the machine's cores, the target has not.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let met = runtime.block_on(run(options))?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
