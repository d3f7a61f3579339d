//! The log: where it goes, and what can never get into it.
//!
//! Redaction is by construction. Our own lines are made of words from closed sets, checked names and numbers. Libraries
//! that see requests quote them when they are told to be verbose: they are heard only when they warn, unless a setting
//! that names the danger allows more. A panic's message may hold anything: only one that was written beforehand is told.

use std::any::Any;
use std::panic::PanicHookInfo;

use opentelemetry::metrics::Meter;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config::{LogFormat, Telemetry};

/// Pingora's own words at level info are about itself; to its connectors an idle connection that a
/// backend has closed is an error, and to its listeners each client that goes. Exporters' words are ours to say, once.
const QUIET: &str = "pingora_core=warn,pingora_core::connectors=off,pingora_core::protocols=off,\
    pingora_core::services=off,pingora_proxy=off,opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off,\
    opentelemetry_otlp=off,opentelemetry-http=off,opentelemetry_http=off";

/// Lines that wait for whoever reads them, at most: what comes beyond is left out, since no request waits for a log.
const LINES: usize = 16_384;

/// Held while the log is written; what waits is written when it is let go.
pub struct Logs {
    lost: ErrorCounter,
    verbosity: Verbosity,
    _guard: WorkerGuard,
}

type Kept = Box<dyn Filter<Registry> + Send + Sync>;

/// How much is said, which may change while it is.
#[derive(Clone)]
pub struct Verbosity(reload::Handle<Kept, Registry>);

impl Verbosity {
    /// From now on as much as these settings want.
    ///
    /// # Errors
    /// If the level is not one.
    pub fn set(&self, config: &Telemetry) -> anyhow::Result<()> {
        Ok(self.0.reload(kept(config)?)?)
    }
}

/// Which lines are kept.
fn kept(config: &Telemetry) -> anyhow::Result<Kept> {
    let level = EnvFilter::try_new(format!("{QUIET},{}", config.log_level.0))?;
    let may_quote = config.log_secrets;
    Ok(Box::new(level.and(filter_fn(move |line| may_quote || is_harmless(line)))))
}

/// # Errors
/// If the level is not one.
pub fn check(config: &Telemetry) -> anyhow::Result<()> {
    kept(config).map(drop)
}

impl Logs {
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity.clone()
    }

    pub fn observe(&self, meter: &Meter) {
        let lost = self.lost.clone();
        meter
            .u64_observable_counter("outrigger_log_lost_lines")
            .with_description("Lines of the log that were left out, since nobody read them fast enough.")
            .with_callback(move |observer| observer.observe(lost.dropped_lines() as u64, &[]))
            .build();
    }
}

/// # Errors
/// If the level is not one.
pub fn start(config: &Telemetry) -> anyhow::Result<Logs> {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(LINES).lossy(true).finish(std::io::stderr());
    let lost = writer.error_counter();
    let (filter, handle) = reload::Layer::new(kept(config)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Pretty => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
    std::panic::set_hook(Box::new(told));
    Ok(Logs { lost, verbosity: Verbosity(handle), _guard: guard })
}

/// Targets that quote requests even where they warn.
const QUOTING: [&str; 4] =
    ["pingora_proxy", "pingora_core::protocols", "pingora_core::connectors", "pingora_core::services"];

fn is_harmless(line: &Metadata<'_>) -> bool {
    let is_quoting = || QUOTING.iter().any(|target| line.target().starts_with(target));
    line.target().starts_with("outrigger") || (*line.level() <= Level::WARN && !is_quoting())
}

fn told(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    tracing::error!(target: "outrigger::panic", place, thread, message = written_beforehand(panic.payload()));
}

/// A message that stands in the program; one that was put together may quote what was sent.
fn written_beforehand(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("a panic; its message is withheld")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_quotes_is_withheld() {
        let panic = |with: fn()| std::panic::catch_unwind(with).unwrap_err();
        assert_eq!(written_beforehand(&*panic(|| panic!("plain words"))), "plain words");
        let quoting = panic(|| {
            let text = String::from("sk-canary-é");
            let _ = &text[..text.len() - 1];
        });
        assert!(!written_beforehand(&*quoting).contains("canary"));
    }
}
