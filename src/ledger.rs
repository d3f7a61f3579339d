//! `outrigger ledger`: what is written down, for other programs.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use outrigger_filters::cost::ledger::{Export, Format, Ledger};
use outrigger_filters::cost::report;

use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes single calls to standard output, while Outrigger runs or not
    Export {
        /// The ledger's file; by default that of the settings, cost.ledger_path
        #[arg(long, value_name = "FILE")]
        ledger: Option<PathBuf>,
        #[arg(long, value_enum, default_value = "csv")]
        format: Form,
        /// The first day or moment: 2026-11-22, or 2026-11-22T08:00:00Z
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// The last day, or the moment before which it ends
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Form {
    Csv,
    Jsonl,
}

impl Command {
    /// Whether the settings are needed to know which file is meant.
    pub const fn needs_settings(&self) -> bool {
        let Command::Export { ledger, .. } = self;
        ledger.is_none()
    }

    pub fn run(&self, config: Option<&Config>) -> anyhow::Result<()> {
        let Command::Export { ledger, format, from, until } = self;
        let set = config.map(|config| config.cost.ledger_path.clone()).filter(|path| !path.as_os_str().is_empty());
        let path = ledger.clone().or(set).context(
            "no ledger is kept on disk: cost.ledger_path is not set; say --ledger FILE, or --config with one that sets it",
        )?;
        let zone = match config {
            Some(config) => config.cost.zone().map_err(|(key, words)| anyhow::anyhow!("cost.{key}: {words}"))?,
            None => report::utc(),
        };
        let moment = |name, text: &Option<String>| report::moment_of(name, text.as_deref(), &zone);
        let export = Export {
            from: moment("from", from)?.unwrap_or(0),
            until: moment("until", until)?.unwrap_or(i64::MAX),
            kind: None,
            format: match format {
                Form::Csv => Format::Csv,
                Form::Jsonl => Format::JsonLines,
            },
        };
        let ledger = Ledger::read_only(&path)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let count = ledger.export(&export, &mut out)?;
        out.flush()?;
        eprintln!("{count} lines.");
        Ok(())
    }
}
