//! Equal requests in flight become one flight with many readers, streams included.
//!
//! A flight runs the rest of the chain once and keeps what it says in a log; whoever asks, the first
//! included, reads that log from its start at its own pace.
//! So a client that leaves takes nothing from the others, and a slow one holds up nobody.

mod flight;

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use http::HeaderValue;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use serde::{Deserialize, Serialize};

use crate::ask::{Print, Sharing};
use crate::charge::{self, Savings};
use crate::reply::kept;
use crate::{Ask, Filter, Next, Refusal, Reply};
use flight::{Flight, Registered};

/// The header that names a reader's part: `leader` opened the flight, a `follower` joined it.
pub const HEADER: &str = "x-outrigger-dedup";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether equal requests in flight become one.
    pub enabled: bool,
    /// What becomes of a flight that nobody reads any more.
    pub when_abandoned: WhenAbandoned,
    /// Whether requests that ask for randomness share: those with neither temperature 0 nor a seed.
    pub sampled: Sampled,
    /// Readers of one flight at most; who comes then opens a new one.
    pub max_readers: usize,
    /// Bytes of one answer kept for its readers at most. Beyond it nobody joins any more, and what
    /// everybody has read is let go; a reader that far behind the others is cut off.
    pub max_log_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            when_abandoned: WhenAbandoned::Cancel,
            sampled: Sampled::Share,
            max_readers: 16_384,
            max_log_bytes: 16 * 1024 * 1024,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenAbandoned {
    /// The generation is cancelled at the backend.
    Cancel,
    /// The generation goes on to its end; who asks meanwhile joins it.
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampled {
    Share,
    Separate,
}

/// The flights that can be joined.
type Flights = DashMap<Print, Registered, BuildHasherDefault<Prehashed>>;

/// Takes a print as it is.
#[derive(Clone, Copy, Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print;
    }
}

pub struct Dedup {
    flights: Arc<Flights>,
    limits: Config,
    counts: Arc<Counts>,
    savings: Arc<dyn Savings>,
}

/// What outlives the settings: a flight that was opened under others can be joined.
pub struct Flying {
    flights: Arc<Flights>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    leaders: AtomicU64,
    followers: AtomicU64,
    apart: AtomicU64,
    evicted: AtomicU64,
}

impl Flying {
    pub fn new(meter: &Meter) -> Self {
        let flying = Flying { flights: Arc::default(), counts: Arc::default() };
        flying.observe(meter);
        flying
    }

    fn observe(&self, meter: &Meter) {
        let counts = self.counts.clone();
        meter
            .u64_observable_counter("outrigger_dedup_requests")
            .with_description("Requests by their part in a flight: leader, follower, or apart from any.")
            .with_callback(move |observer| {
                for (role, count) in
                    [("leader", &counts.leaders), ("follower", &counts.followers), ("apart", &counts.apart)]
                {
                    observer.observe(count.load(Ordering::Relaxed), &[KeyValue::new("role", role)]);
                }
            })
            .build();
        let counts = self.counts.clone();
        meter
            .u64_observable_counter("outrigger_dedup_evicted_readers")
            .with_description("Readers cut off because they fell behind the others by more than max_log_bytes.")
            .with_callback(move |observer| observer.observe(counts.evicted.load(Ordering::Relaxed), &[]))
            .build();
        let flights = Arc::downgrade(&self.flights);
        meter
            .u64_observable_gauge("outrigger_dedup_flights")
            .with_description("Flights that can be joined now.")
            .with_callback(move |observer| {
                observer.observe(flights.upgrade().map_or(0, |flights| flights.len() as u64), &[]);
            })
            .build();
    }
}

impl Dedup {
    pub fn new(config: &Config, savings: Arc<dyn Savings>, meter: &Meter) -> Self {
        Dedup::over(&Flying::new(meter), config, savings)
    }

    /// With the flights that there are already.
    pub fn over(flying: &Flying, config: &Config, savings: Arc<dyn Savings>) -> Self {
        let Flying { flights, counts } = flying;
        Dedup { flights: flights.clone(), limits: config.clone(), counts: counts.clone(), savings }
    }

    fn shares(&self, ask: &Ask) -> bool {
        ask.sharing == Sharing::Allowed && (self.limits.sampled == Sampled::Share || !ask.is_sampled())
    }

    /// Joins the flight for this ask, or opens it. `Err` is a question that only looks the same.
    #[expect(clippy::result_large_err, reason = "what comes back is what was handed in")]
    fn board(&self, ask: Arc<Ask>, next: Next) -> Result<(Arc<Flight>, &'static str), Next> {
        let entry = self.flights.entry(ask.print);
        if let Entry::Occupied(flying) = &entry
            && let Some(flight) = flying.get().join(self.limits.max_readers)
        {
            // The guard must go before the flight can: the last reader's leaving locks this shard.
            drop(entry);
            if !flight.answers(&ask) {
                return Err(next);
            }
            if let Some(place) = flight.place {
                next.trace().0.link(place);
            }
            flight.take_off(None);
            self.counts.followers.fetch_add(1, Ordering::Relaxed);
            return Ok((flight, "follower"));
        }
        let (flight, registered) = Flight::open(ask, next, self);
        entry.insert(registered);
        self.counts.leaders.fetch_add(1, Ordering::Relaxed);
        Ok((flight, "leader"))
    }

    async fn apart(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        self.counts.apart.fetch_add(1, Ordering::Relaxed);
        next.run(ask).await
    }
}

#[async_trait]
impl Filter for Dedup {
    fn name(&self) -> &'static str {
        "dedup"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        if !self.shares(&ask) {
            return self.apart(ask, next).await;
        }
        let (flight, role) = match self.board(ask.clone(), next) {
            Ok(boarded) => boarded,
            Err(next) => return self.apart(ask, next).await,
        };
        let mut reply = flight::read(flight, role == "leader").await?;
        reply.headers.insert(HEADER, HeaderValue::from_static(role));
        if role == "follower" {
            // It was paid for once, and the leader is told so.
            reply.headers.insert(charge::HEADER, HeaderValue::from_static("0"));
        }
        if role == "follower" && reply.headers.get(kept::HEADER).is_some_and(|word| word == kept::MISS) {
            reply.headers.insert(kept::HEADER, HeaderValue::from_static(kept::COALESCED));
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests;
