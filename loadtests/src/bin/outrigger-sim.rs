//! The simulated model server as a process: reads the command line, says where it listens, serves until told to stop.

use clap::Parser;
use outrigger_loadtests::sim::{Options, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // One thread needs neither work stealing nor the wake-ups that come with it.
    let mut builder = match options.threads.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let server = Server::bind(&options)?;
    // Before anyone knows of it, so that a signal in its first moment ends it cleanly too.
    let stopped = stop_signal()?;
    announce(&server)?;
    // The accept loop runs as a task so that it shares the workers with its connections.
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(server.serve());
    tokio::select! {
        _ = serving.join_next() => anyhow::bail!("the accept loop ended"),
        () = stopped => Ok(()),
    }
}

fn announce(server: &Server) -> std::io::Result<()> {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    writeln!(output, "outrigger-sim listening on {}", server.url()?)?;
    output.flush()
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
