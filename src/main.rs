//! Outrigger: a resilience sidecar for model servers.

mod admin;
mod advise;
mod backend;
mod config;
mod downstream;
mod ending;
mod events;
mod form;
mod gpu;
mod guard;
mod health;
mod http_client;
mod identity;
mod insight;
mod ledger;
mod machine;
mod memory;
mod prices;
mod proxy;
mod reload;
mod routes;
mod scaling;
mod service;
mod serving;
mod telemetry;
mod tls;
mod upgrade;
mod webhook;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A resilience sidecar for model servers: put it between your clients and any OpenAI-compatible backend.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Without a file, OUTRIGGER_BACKEND=http://127.0.0.1:8000 is a complete setup.\n\
                  Every key can be set by the environment: OUTRIGGER__SERVER__LISTEN=0.0.0.0:8080 is server.listen."
)]
struct Arguments {
    /// The settings, in TOML; config/outrigger.toml shows every key
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Takes the place of the process that listens at server.upgrade_socket, while requests are answered
    #[arg(long)]
    upgrade: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the settings, says what is wrong with them by file, line and key, and serves nothing
    Check,
    /// Asks the admin port of the settings whether requests are welcome: exit 0 if they are, 1 if not. For health checks
    Health(health::Question),
    /// Reads a tenant's key from standard input and prints its digest, for [tenants.names]
    Tenant,
    /// Makes the table that stands before an embedding model, for semantic_cache.gate_path: takes every core for a minute
    Distil {
        /// The model's folder, with model.onnx and tokenizer.json; the table goes into its folder `static`
        folder: PathBuf,
        /// The ONNX runtime's library; by default libonnxruntime.so in the model's folder, else the system's
        #[arg(long, value_name = "FILE")]
        runtime: Option<PathBuf>,
    },
    /// The most precise quantization of a model that fits the memory that is free, and what it would take
    Advise(Box<advise::Advise>),
    /// The ledger of what was paid: cost.ledger_path
    Ledger {
        #[command(subcommand)]
        command: ledger::Command,
    },
    /// What models cost: shows it, and brings LiteLLM's table into the form of ours
    Prices {
        #[command(subcommand)]
        command: prices::Command,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Tenant) => return tenant(),
        Some(Command::Distil { folder, runtime }) => return distil(folder, runtime.as_deref()),
        Some(Command::Prices { command }) => return said(prices::run(command)),
        Some(Command::Advise(advise)) => return said(advise::run(advise)),
        Some(Command::Ledger { command }) if !command.needs_settings() => return said(command.run(None)),
        Some(Command::Health(question)) if !question.needs_settings() => return said(question.ask(None)),
        _ => {}
    }
    let loaded = match config::load(arguments.config.as_deref(), &config::environment()) {
        Ok(loaded) => loaded,
        Err(problem) => {
            eprintln!("outrigger: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let config = &loaded.config;
    match &arguments.command {
        Some(Command::Ledger { command }) => return said(command.run(Some(config))),
        Some(Command::Health(question)) => return said(question.ask(Some(config))),
        _ => {}
    }
    if matches!(arguments.command, Some(Command::Check)) {
        for words in config.rate_limit.pointless() {
            println!("Note: {words}.");
        }
        println!("The settings are good.");
        return ExitCode::SUCCESS;
    }
    said(service::run(loaded, arguments.config, arguments.upgrade))
}

fn said(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tenant() -> ExitCode {
    let mut key = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut key) {
        eprintln!("outrigger: reading the key: {error}");
        return ExitCode::FAILURE;
    }
    println!("{}", outrigger_filters::Tenant::of(key.trim().as_bytes()).hex());
    ExitCode::SUCCESS
}

fn distil(folder: &Path, runtime: Option<&Path>) -> ExitCode {
    match outrigger_filters::semantic_cache::meaning::distil::distil(folder, runtime) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}
