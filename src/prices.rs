//! `outrigger prices`: makes a table of prices from LiteLLM's, and shows what a model costs.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use outrigger_filters::cost::prices::{self, Part, Price, Prices, Use, litellm};
use outrigger_filters::usage::{Service, Tokens};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reads LiteLLM's table of prices and prints it as ours; what was left out, and why, is said on standard error
    Import(Import),
    /// What a model costs, and what a call to it would, by the prices that come with Outrigger and a file over them
    Show(Show),
}

#[derive(Debug, Args)]
pub struct Import {
    /// LiteLLM's model_prices_and_context_window.json
    file: PathBuf,
    /// Takes these models only: names, or beginnings and `*`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// Takes the models of these providers only, as LiteLLM calls them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    providers: Vec<String>,
    /// Where the file is from, for the head of the table
    #[arg(long, value_name = "WORDS")]
    source: Option<String>,
}

#[derive(Debug, Args)]
pub struct Show {
    model: String,
    /// A table of prices that goes before those that come with Outrigger
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The backend that is called, where prices are for one
    #[arg(long, value_name = "NAME", default_value = "")]
    backend: String,
    /// By the prices of this day of UTC, as 2026-01-31; by default today's
    #[arg(long)]
    day: Option<prices::Date>,
    /// The class of service of the call
    #[arg(long, value_enum, default_value = "standard")]
    service: Class,
    /// Tokens of input, with all that is said of them below
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    input: u64,
    /// The part of the input that was in the backend's cache
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    cached: u64,
    /// The part of the input that was put into it
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    cache_writes: u64,
    /// Tokens of output, with those that were thought
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    output: u64,
    /// The part of the output that was thought
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    reasoning: u64,
    /// Seconds of the machine
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    busy: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Class {
    Standard,
    Batch,
    Flex,
    Priority,
}

/// # Errors
/// In words for whoever called it: which file, and what is wrong with it.
pub fn run(command: &Command) -> anyhow::Result<()> {
    let text = match command {
        Command::Import(import) => import.run()?,
        Command::Show(show) => show.run()?,
    };
    match std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing"),
    }
}

impl Import {
    fn run(&self) -> anyhow::Result<String> {
        let json = text(&self.file)?;
        let wanted = litellm::Wanted { models: self.models.clone(), providers: self.providers.clone() };
        let imported = litellm::import(&json, &wanted).with_context(|| self.file.display().to_string())?;
        eprint!("{}", imported.summary());
        if imported.taken == 0 {
            bail!("{}: no model was taken", self.file.display());
        }
        Ok(format!("{}{}", self.head(), imported.text))
    }

    fn head(&self) -> String {
        let mut command = "outrigger prices import FILE".to_owned();
        let lists = [("models", &self.models), ("providers", &self.providers)];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            _ = write!(command, " --{name} '{}'", list.join(","));
        }
        let mut head = HEAD.replace("COMMAND", &command);
        if let Some(source) = &self.source {
            _ = writeln!(head, "# FILE was: {}", source.replace(char::is_control, " "));
        }
        head
    }
}

/// What a table begins with: how it was made, and what can be written into one.
const HEAD: &str = "\
# Public prices, in dollars for a million tokens. They are facts of a day: compare them with your invoice.
#
# Made from LiteLLM's model_prices_and_context_window.json, and to be made anew, not edited, by
#   COMMAND
# Prices of your own go into the settings under [[cost.price]], or into a file of your own, and go before these:
#
#   [[cost.price]]                  # your own machine, by the token
#   model = \"llama-3.1-8b*\"          # a name, or the beginning of one and *
#   backends = [\"gpu\"]               # of your [[backends]]; all, where it is left out
#   from = 2026-01-01                # the first day it holds, and the last, by UTC
#   until = 2026-12-31
#   input = 0.05                     # what is not said costs what it is a part of: cached_input as input
#   output = 0.2
#
#   [[cost.price]]                  # your own machine, by its time: $2.50 an hour
#   model = \"*\"
#   backends = [\"gpu\"]
#   gpu_second = 0.000694444
#
#   [[cost.price]]
#   model = \"some-model\"
#   request = 0.01                   # dollars for each request
#   input = 1
#   cached_input = 0.1               # also cache_write, cache_write_1h, audio_input, image_input
#   output = 8                       # also reasoning, audio_output, image_output
#   batch = { input = 0.5, output = 4 }  # also flex and priority; what is not said stays as it is above
#   [[cost.price.tiers]]            # for the whole of a request with more input than that
#   above_input = 200_000
#   input = 2
#
# In a file of prices the same is called [[prices]] and [[prices.tiers]].
";

impl Show {
    fn run(&self) -> anyhow::Result<String> {
        let own = match &self.file {
            Some(file) => prices::read(&text(file)?).with_context(|| file.display().to_string())?,
            None => Vec::new(),
        };
        let prices = Prices::new(&[&own, &prices::builtin_entries()?])?;
        let day = self.day.unwrap_or_else(prices::today);
        let Some(price) = prices.find(&self.model, &self.backend, day) else {
            let near = prices.near(&self.model, 5);
            let hint = if near.is_empty() { String::new() } else { format!("; near to it are {}", near.join(", ")) };
            bail!("no price of the model `{}` is known on {day}{hint}", self.model);
        };
        let mut text = rates(price)?;
        let used = self.used()?;
        if used.tokens != Tokens::default() || used.busy > Duration::ZERO {
            writeln!(text, "\nThis call costs ${}.", price.cost(&used))?;
        }
        Ok(text)
    }

    fn used(&self) -> anyhow::Result<Use> {
        let tokens = Tokens {
            input: self.input,
            cached_input: self.cached,
            cache_writes: self.cache_writes,
            output: self.output,
            reasoning: self.reasoning,
            ..Tokens::default()
        };
        if self.cached.saturating_add(self.cache_writes) > self.input || self.reasoning > self.output {
            bail!(
                "--cached and --cache-writes are parts of --input, and --reasoning is one of --output: they are more than it"
            );
        }
        let busy = Duration::try_from_secs_f64(self.busy).context("--busy is no number of seconds")?;
        Ok(Use { tokens, service: self.service.service(), busy })
    }
}

impl Class {
    const fn service(self) -> Service {
        match self {
            Class::Standard => Service::Standard,
            Class::Batch => Service::Batch,
            Class::Flex => Service::Flex,
            Class::Priority => Service::Priority,
        }
    }
}

/// The rates of a model for people: a line for each part, a column for each class of service that has its own.
fn rates(price: &Price) -> Result<String, std::fmt::Error> {
    let mut text = price.model().to_owned();
    if price.is_wildcard() {
        text.push_str(" (for all models that begin so)");
    }
    if !price.backends().is_empty() {
        write!(text, ", at {}", price.backends().join(", "))?;
    }
    match price.days() {
        (None, None) => {}
        (Some(from), None) => write!(text, ", from {from}")?,
        (None, Some(until)) => write!(text, ", until {until}")?,
        (Some(from), Some(until)) => write!(text, ", from {from} until {until}")?,
    }
    writeln!(text, ", in dollars for a million tokens")?;
    for above in std::iter::once(0).chain(price.tiers()) {
        if above > 0 {
            writeln!(text, "\nwith more than {above} tokens of input")?;
        }
        tier(price, above, &mut text)?;
    }
    Ok(text)
}

fn tier(price: &Price, above: u64, text: &mut String) -> std::fmt::Result {
    let all = [Class::Standard, Class::Batch, Class::Flex, Class::Priority];
    let rates = |class: Class| price.rates(above.saturating_add(1), class.service());
    let standard = rates(Class::Standard);
    let columns: Vec<_> =
        all.into_iter().filter(|class| matches!(class, Class::Standard) || rates(*class) != standard).collect();
    write!(text, "{:<16}", "")?;
    for class in &columns {
        write!(text, "{:>14}", format!("{class:?}").to_lowercase())?;
    }
    text.push('\n');
    for part in Part::ALL {
        let values: Vec<_> = columns.iter().map(|class| rates(*class).0[part as usize]).collect();
        if matches!(part, Part::Request | Part::GpuSecond) && values.iter().all(|rate| *rate == 0) {
            continue;
        }
        write!(text, "{:<16}", part.key())?;
        for rate in values {
            write!(text, "{:>14}", part.dollars(rate))?;
        }
        text.push('\n');
    }
    Ok(())
}

fn text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
