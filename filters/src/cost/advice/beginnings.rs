//! Beginnings of questions that backends read anew each time, though they could have kept them: from a sample.
//!
//! Only a thread of its own ever reads a body for this. It rests nine times as long as it worked, so that it takes a
//! tenth of a core at most, whatever clients send; what it has no time for is dropped, counted, and taken to be like
//! the rest.
//!
//! Where few of many calls are taken, two that begin alike seem to be further apart than they are, so that fewer seem
//! to come in time for what a backend keeps: then the saving is told too low, never too high.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Spent;
use super::beginning::Beginning;
use super::books::Sum;
use super::halves::Halves;
use super::heavy::Heavy;
use super::pairing::named;
use crate::tokens::Tokenizers;
use crate::usage::Tokens;
use crate::{Ask, Route, Tenant};

/// Told apart in each half of the window.
pub const MOST: usize = 1_000;

/// No backend keeps less: OpenAI's prompt caching, and Anthropic's for most models, begin there.
pub const LEAST_TOKENS: u64 = 1_024;
/// How long backends keep a beginning at least: Anthropic's five minutes, the least that OpenAI speaks of.
const KEPT: Duration = Duration::from_secs(300);

const WAITING: usize = 256;
const WAITING_BYTES: usize = 16 * 1024 * 1024;
const LARGEST_BODY: usize = 1024 * 1024;
/// The thread works so long in one go, then rests; it is woken at most four times a second.
const WORK: Duration = Duration::from_millis(50);
const LEAST_REST: Duration = Duration::from_millis(250);

/// One call of the sample.
pub struct Sample {
    pub ask: Arc<Ask>,
    pub model: Box<str>,
    pub tokens: Tokens,
    pub cost: u64,
    /// As how many calls this one counts.
    pub weight: f64,
    pub at: Instant,
}

/// The calls of one tenant and model that begin alike; all counts are estimates for all calls.
#[derive(Clone)]
pub struct Alike {
    pub tenant: Tenant,
    pub model: Arc<str>,
    last: Instant,
    /// Counted when it is seen again: most are seen once.
    pub tokens: u64,
    pub calls: f64,
    /// Calls soon after another, whose beginning was read anew all the same.
    pub cold: f64,
    pub cold_tokens: f64,
    /// Calls that came too late for what was kept: a backend that keeps it must put it there.
    pub openings: f64,
}

impl Sum for Alike {
    fn add(&mut self, later: &Self) {
        self.tokens = self.tokens.max(later.tokens);
        self.calls += later.calls;
        self.cold += later.cold;
        self.cold_tokens += later.cold_tokens;
        self.openings += later.openings;
    }
}

/// Half a window.
struct Half {
    alike: Heavy<[u8; 32], Alike>,
    read: u64,
}

/// What was found in the sample, and what waits to be read.
pub struct Beginnings {
    halves: Mutex<Halves<Half>>,
    dropped: Mutex<Halves<u64>>,
    waiting_bytes: AtomicUsize,
    tokenizers: Arc<Tokenizers>,
}

/// The sample at a glance.
pub struct Seen {
    pub halves: Vec<Vec<([u8; 32], Alike)>>,
    pub read: u64,
    pub dropped: u64,
}

/// Hands calls to the thread, which ends when this is dropped.
pub struct Reader {
    sender: SyncSender<Sample>,
    beginnings: Arc<Beginnings>,
}

/// Whether a call's beginning could be worth a look.
pub fn is_eligible(spent: &Spent<'_>) -> bool {
    let has_beginning = !matches!(spent.ask.route, Route::Completions | Route::Embeddings);
    let is_paid = spent.cost.is_some_and(|cost| cost.nanos() > 0) && !spent.wasted;
    is_paid && has_beginning && spent.tokens.input >= LEAST_TOKENS && spent.ask.body.len() <= LARGEST_BODY
}

impl Reader {
    pub fn start(window: Duration, tokenizers: Arc<Tokenizers>) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let beginnings = Arc::new(Beginnings::new(window, tokenizers));
        let reading = beginnings.clone();
        std::thread::Builder::new().name("outrigger-advice".into()).spawn(move || reading.run(&receiver))?;
        Ok(Reader { sender, beginnings })
    }

    pub fn take(&self, sample: Sample) {
        let (at, bytes) = (sample.at, sample.ask.body.len());
        let waiting = &self.beginnings.waiting_bytes;
        let has_room = waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= WAITING_BYTES;
        if !has_room || self.sender.try_send(sample).is_err() {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            *self.beginnings.dropped.lock().unwrap_or_else(PoisonError::into_inner).at(at) += 1;
        }
    }

    pub fn seen(&self, at: Instant) -> Seen {
        self.beginnings.seen(at)
    }
}

impl Beginnings {
    fn new(window: Duration, tokenizers: Arc<Tokenizers>) -> Self {
        let halves = Halves::new(window, || Half { alike: Heavy::new(MOST), read: 0 });
        let dropped = Mutex::new(Halves::new(window, || 0));
        Beginnings { halves: Mutex::new(halves), dropped, waiting_bytes: AtomicUsize::new(0), tokenizers }
    }

    /// Until nobody can send any more.
    fn run(&self, samples: &Receiver<Sample>) {
        while let Ok(first) = samples.recv() {
            let begun = Instant::now();
            let mut next = Some(first);
            while let Some(sample) = next {
                self.read(&sample);
                self.waiting_bytes.fetch_sub(sample.ask.body.len(), Ordering::Relaxed);
                next = if begun.elapsed() < WORK { samples.try_recv().ok() } else { None };
            }
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, for which nobody waits")]
            std::thread::sleep(LEAST_REST.max(begun.elapsed() * 9));
        }
    }

    fn read(&self, sample: &Sample) {
        let found = Beginning::of(&sample.ask).filter(|found| found.bytes() as u64 >= LEAST_TOKENS);
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let half = halves.at(sample.at);
        half.read += 1;
        let Some(found) = found else { return };
        let (tenant, model) = (sample.ask.tenant, named(&sample.model));
        let digest = found.digest(&[tenant.digest(), model.as_bytes()]);
        let weight = (sample.cost as f64 * sample.weight) as u64;
        let alike = half.alike.add(digest, weight, || Alike::new(tenant, model, sample.at));
        if alike.calls > 0.0 && alike.tokens == 0 {
            alike.tokens = found.tokens(model, &self.tokenizers);
        }
        alike.note(sample);
    }

    fn seen(&self, at: Instant) -> Seen {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.at(at);
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.at(at);
        Seen {
            halves: halves.both().map(|half| half.alike.copy()).collect(),
            read: halves.both().map(|half| half.read).sum(),
            dropped: dropped.both().sum(),
        }
    }
}

impl Alike {
    fn new(tenant: Tenant, model: &str, at: Instant) -> Self {
        let model = model.into();
        Alike { tenant, model, last: at, tokens: 0, calls: 0.0, cold: 0.0, cold_tokens: 0.0, openings: 0.0 }
    }

    fn note(&mut self, sample: &Sample) {
        let is_soon = self.calls > 0.0 && sample.at.saturating_duration_since(self.last) <= KEPT;
        self.calls += sample.weight;
        self.last = sample.at;
        if !is_soon {
            self.openings += sample.weight;
            return;
        }
        let tokens = self.tokens.min(sample.tokens.input);
        let cached = sample.tokens.cached_input;
        // More than half of it was kept: the rest is how backends round.
        if cached.saturating_mul(2) < tokens {
            self.cold += sample.weight;
            self.cold_tokens += sample.weight * (tokens - cached) as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ask;

    fn sample(system: &str, tokens: Tokens) -> Sample {
        let body = serde_json::json!({ "model": "gpt-4o", "messages": [{ "role": "system", "content": system }] });
        let ask = Arc::new(ask(&body.to_string()));
        Sample { ask, model: "gpt-4o".into(), tokens, cost: 1_000, weight: 2.0, at: Instant::now() }
    }

    fn beginnings() -> Beginnings {
        Beginnings::new(Duration::from_secs(3_600), Arc::new(Tokenizers::new(&[]).unwrap()))
    }

    fn only(beginnings: &Beginnings) -> Alike {
        let seen = beginnings.seen(Instant::now());
        seen.halves.into_iter().flatten().map(|(_, alike)| alike).next().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_calls_soon_after_another_could_have_found_what_was_kept() {
        let (beginnings, text) = (beginnings(), "word ".repeat(2_000));
        let cold = Tokens { input: 3_000, ..Tokens::default() };
        let warm = Tokens { cached_input: 1_900, ..cold };
        for (tokens, then) in [(cold, 10), (cold, 299), (cold, 301), (cold, 10), (warm, 10)] {
            beginnings.read(&sample(&text, tokens));
            tokio::time::advance(Duration::from_secs(then)).await;
        }
        let alike = only(&beginnings);
        assert!((1_990..=2_010).contains(&alike.tokens), "{} tokens", alike.tokens);
        assert_eq!((alike.calls, alike.openings, alike.cold), (10.0, 4.0, 4.0));
        assert_eq!(alike.cold_tokens, 4.0 * alike.tokens as f64);
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_thousand_beginnings_make_no_more_than_the_bound() {
        let beginnings = beginnings();
        for number in 0..20_000 {
            beginnings.read(&sample(&format!("{number} {}", "x".repeat(1_100)), Tokens::default()));
        }
        let seen = beginnings.seen(Instant::now());
        assert_eq!((seen.halves[0].len(), seen.read), (MOST, 20_000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_dropped_and_counted() {
        // Nobody reads, so that all waits.
        let (sender, _receiver) = sync_channel(WAITING);
        let reader = Reader { sender, beginnings: Arc::new(beginnings()) };
        for _ in 0..2 * WAITING {
            reader.take(sample("short", Tokens::default()));
        }
        assert_eq!(reader.seen(Instant::now()).dropped, WAITING as u64, "the queue holds so many");
        let (sender, _receiver) = sync_channel(WAITING);
        let reader = Reader { sender, beginnings: Arc::new(beginnings()) };
        for _ in 0..40 {
            reader.take(sample(&"x".repeat(1024 * 1024), Tokens::default()));
        }
        let dropped = reader.seen(Instant::now()).dropped;
        assert_eq!(dropped, 40 - 15, "the bytes that wait are bounded too");
    }
}
