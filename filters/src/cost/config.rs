//! The settings of the room: one `[cost]` table.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::prices::{self, Entry, Prices};
use super::{advice, budgets, ledger};
use crate::tenants::Names;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The table of prices; empty is the one that the program was built with, `config/prices.toml`.
    pub prices: PathBuf,
    /// Prices that come before those of the table, in its form: `[[cost.price]]`.
    pub price: Vec<Entry>,
    /// What becomes of requests for models that no price is known of: `allow`, counted without money, or `refuse`.
    pub unpriced: Unpriced,
    /// Where days, weeks and months begin, as the IANA calls it: `Europe/Berlin`.
    pub time_zone: String,
    /// The file of the ledger; empty keeps it in memory, until the process ends.
    pub ledger_path: PathBuf,
    /// How often what was paid is written down: what a kill -9 may lose.
    pub ledger_flush_ms: NonZeroU32,
    /// Calls that are kept one by one where the ledger is in memory.
    pub ledger_memory_calls: u32,
    /// How long calls are kept one by one; then their sums by minute, by hour, and by day for ever.
    pub keep_calls_days: u32,
    pub keep_minutes_days: u32,
    pub keep_hours_days: u32,
    /// How long what a sidecar holds for calls in flight outlives the sidecar, where several share budgets.
    pub reservation_secs: NonZeroU64,
    /// What may be spent.
    pub budgets: Vec<budgets::Budget>,
    /// What is looked for to save money.
    pub advice: advice::Config,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    #[default]
    Allow,
    Refuse,
}

impl Default for Config {
    fn default() -> Self {
        let ledger = ledger::Config::default();
        Config {
            prices: PathBuf::new(),
            price: Vec::new(),
            unpriced: Unpriced::default(),
            time_zone: "UTC".to_owned(),
            ledger_path: ledger.ledger_path,
            ledger_flush_ms: ledger.ledger_flush_ms,
            ledger_memory_calls: ledger.ledger_memory_calls,
            keep_calls_days: ledger.keep_calls_days,
            keep_minutes_days: ledger.keep_minutes_days,
            keep_hours_days: ledger.keep_hours_days,
            reservation_secs: const { NonZeroU64::new(600).unwrap() },
            budgets: Vec::new(),
            advice: advice::Config::default(),
        }
    }
}

/// The key below `cost` that is wrong, and why.
pub type Wrong = (String, String);

impl Config {
    /// What is wrong with the settings, files that they name included.
    pub fn contradiction(&self, names: &Names) -> Option<Wrong> {
        let budgets = || budgets::Budgets::check(&self.budgets, names).err();
        let advice = || self.advice.contradiction().map(|(key, words)| (format!("advice.{key}"), words));
        self.zone().err().or_else(|| self.prices().err()).or_else(budgets).or_else(advice)
    }

    pub fn zone(&self) -> Result<TimeZone, Wrong> {
        let words =
            |_| format!("`{}` is no time zone that the IANA knows, as `UTC` or `Europe/Berlin`", self.time_zone);
        TimeZone::get(&self.time_zone).map_err(|error| ("time_zone".to_owned(), words(error)))
    }

    /// The table of prices, with those of the settings before it.
    pub fn prices(&self) -> Result<Prices, Wrong> {
        let wrong = |words: String| ("prices".to_owned(), words);
        let table = if self.prices.as_os_str().is_empty() {
            prices::builtin_entries().map_err(|problem| wrong(problem.to_string()))?
        } else {
            let file = self.prices.display();
            let text = std::fs::read_to_string(&self.prices).map_err(|error| wrong(format!("{file}: {error}")))?;
            prices::read(&text).map_err(|problem| wrong(format!("{file}: {problem}")))?
        };
        Prices::new(&[&self.price, &table]).map_err(|problem| ("price".to_owned(), problem.to_string()))
    }

    pub fn ledger(&self) -> ledger::Config {
        ledger::Config {
            ledger_path: self.ledger_path.clone(),
            ledger_flush_ms: self.ledger_flush_ms,
            ledger_memory_calls: self.ledger_memory_calls,
            keep_calls_days: self.keep_calls_days,
            keep_minutes_days: self.keep_minutes_days,
            keep_hours_days: self.keep_hours_days,
        }
    }
}
