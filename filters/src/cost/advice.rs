//! Where money could be saved, each with its evidence: told from what was paid, and never with a prompt's text.
//!
//! Every call is written down as it ends, in less than a microsecond: exact sums of money for the prompts, tenants,
//! models and backends that most of it goes to (see `heavy`), of the last window (see `halves`). What needs a body
//! to be read is found in a sample, on a thread of its own (see `sampler` and `beginnings`). Prices are asked for
//! only when somebody wants the report. Two pieces of advice may speak of the same money: their savings do not add up.

mod beginning;
mod beginnings;
mod books;
mod config;
mod finding;
mod halves;
mod heavy;
mod kinds;
mod manner;
mod pairing;
mod sampler;
mod spread;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use beginnings::{Reader, Sample, Seen};
use books::{Books, Copied};
pub use config::{CheaperModel, Config};
use finding::Finding;
use halves::Halves;
use sampler::Sampler;

use crate::Ask;
use crate::money::Money;
use crate::tenants::Names;
use crate::tokens::Tokenizers;
use crate::usage::Tokens;

/// Pieces of advice in one report.
const MOST_TOLD: usize = 100;
const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// A call that has ended, and what it cost.
pub struct Spent<'call> {
    pub ask: &'call Arc<Ask>,
    pub model: &'call str,
    pub backend: &'call str,
    pub tokens: Tokens,
    /// None where the model has no price.
    pub cost: Option<Money>,
    /// 1 for the first.
    pub attempt: u32,
    /// Paid, and its answer was given to nobody: it failed or was let go, or another was quicker.
    pub wasted: bool,
}

/// What the same tokens would cost with another model, if it has a price.
pub type Reprice<'a> = &'a dyn Fn(&str, &Tokens) -> Option<Money>;

/// Whether answers are kept, as far as it explains why one was not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cache {
    Off,
    On { max_temperature: f64 },
}

pub struct Advice {
    config: Config,
    names: Names,
    /// None where nobody wants advice.
    desk: Option<Arc<Desk>>,
}

struct Desk {
    counted: Mutex<Counted>,
    /// None where the system has no thread for it: then there is no advice from a sample.
    reader: Option<Reader>,
}

struct Counted {
    books: Halves<Books>,
    sampler: Sampler,
}

/// What a report is made of.
struct Seeing<'a> {
    books: Vec<Copied>,
    sample: Option<Seen>,
    reprice: Reprice<'a>,
    cache: Cache,
    config: &'a Config,
}

impl Advice {
    pub fn new(config: &Config, names: Names, tokenizers: Arc<Tokenizers>) -> Arc<Self> {
        let desk = config.enabled.then(|| Desk::new(Duration::from_secs(config.window_secs.get()), tokenizers));
        Arc::new(Advice { config: config.clone(), names, desk: desk.map(Arc::new) })
    }

    /// The same calls, under other settings. Whether it is wanted, and over which time, stays as it was.
    pub fn renewed(&self, config: &Config, names: Names) -> Arc<Self> {
        let Config { enabled, window_secs, .. } = self.config;
        Arc::new(Advice { config: Config { enabled, window_secs, ..config.clone() }, names, desk: self.desk.clone() })
    }

    /// A call has ended. Holds its caller for less than a microsecond.
    pub fn note(&self, spent: &Spent<'_>) {
        let Some(desk) = &self.desk else { return };
        // Where nothing was read and nothing paid, nothing can be saved.
        if spent.cost.is_none_or(|cost| cost == Money::ZERO) && spent.tokens == Tokens::default() {
            return;
        }
        desk.note(spent, Instant::now());
    }

    /// All that is known to be worth a change, the largest saving first.
    pub fn report(&self, reprice: Reprice<'_>, cache: Cache) -> Value {
        let Some(desk) = &self.desk else { return json!({ "enabled": false, "recommendations": [] }) };
        let now = Instant::now();
        let (books, covers) = desk.books(now);
        let sample = desk.reader.as_ref().map(|reader| reader.seen(now));
        let seeing = Seeing { books, sample, reprice, cache, config: &self.config };
        let found = kinds::all(&seeing);
        let told = found.iter().take(MOST_TOLD).map(|finding| self.tell(finding, covers));
        json!({
            "enabled": true,
            "window_secs": self.config.window_secs,
            "measured_over_secs": covers.as_secs_f64().round(),
            "calls": seeing.books.iter().map(|half| half.calls).sum::<u64>(),
            "cost_usd": seeing.books.iter().map(|half| half.cost).sum::<Money>().usd(),
            "sample": seeing.sample.as_ref().map(|seen| json!({ "read": seen.read, "dropped": seen.dropped })),
            "overlooked_prompts_cost_at_most_usd": seeing.books.iter().map(|half| half.overlooked).sum::<Money>().usd(),
            "left_off": found.len().saturating_sub(MOST_TOLD),
            "note": "Two recommendations may speak of the same money: their savings do not add up.",
            "recommendations": told.collect::<Vec<_>>(),
        })
    }

    fn tell(&self, finding: &Finding, covers: Duration) -> Value {
        // Less than an hour says too little of a month.
        let is_long = covers >= HOUR.min(Duration::from_secs(self.config.window_secs.get()) / 2);
        let times = MONTH.as_secs_f64() / covers.as_secs_f64();
        let monthly = is_long.then(|| finding.saving.usd() * times).filter(|amount| amount.is_finite());
        json!({
            "kind": finding.kind,
            "title": finding.title,
            "tenant": finding.tenant.map(|tenant| self.names.of(&tenant)),
            "model": finding.model,
            "evidence": finding.evidence,
            "estimated_saving_usd": finding.saving.usd(),
            "estimated_saving_usd_per_30_days": monthly,
            "measured_over_secs": covers.as_secs_f64().round(),
            "confidence": finding.confidence,
            "what_to_do": finding.what_to_do,
        })
    }
}

impl Desk {
    fn new(window: Duration, tokenizers: Arc<Tokenizers>) -> Self {
        let reader = Reader::start(window, tokenizers);
        if let Err(error) = &reader {
            tracing::warn!(%error, "no thread for advice: beginnings that backends read anew are not looked for");
        }
        let counted = Counted { books: Halves::new(window, Books::new), sampler: Sampler::new(fastrand::Rng::new()) };
        Desk { counted: Mutex::new(counted), reader: reader.ok() }
    }

    fn note(&self, spent: &Spent<'_>, at: Instant) {
        let weight = {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.books.at(at).note(spent, at);
            beginnings::is_eligible(spent).then(|| counted.sampler.pick(at)).flatten()
        };
        let (Some(weight), Some(reader)) = (weight, &self.reader) else { return };
        let (ask, model, tokens) = (spent.ask.clone(), spent.model.into(), spent.tokens);
        let cost = spent.cost.unwrap_or_default().nanos();
        reader.take(Sample { ask, model, tokens, cost, weight, at });
    }

    /// A copy, so that nobody waits while it is read, and how much time it speaks of.
    fn books(&self, now: Instant) -> (Vec<Copied>, Duration) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.books.at(now);
        (counted.books.both().map(Books::copy).collect(), counted.books.covers(now))
    }
}

#[cfg(test)]
mod tests;
