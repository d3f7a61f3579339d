//! The chain of rooms that a question goes through, from the client's side to the backend's.
//!
//! This crate holds the policy and knows no proxy: it is handed an [`Ask`] and answers with a
//! [`Reply`] or a [`Refusal`]. The compiler keeps that wall.

pub mod alerts;
pub mod ask;
pub mod breaker;
pub mod call;
pub mod canonical;
pub mod charge;
pub mod cost;
pub mod dedup;
pub mod estimate;
pub mod filter;
pub mod heir;
pub mod labels;
pub mod latency;
pub mod models;
pub mod money;
pub mod newest;
pub mod rate_limit;
pub mod refusal;
pub mod reply;
pub mod scaling;
pub mod semantic_cache;
pub mod sse;
pub mod store;
pub mod tenants;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokens;
pub mod trace;
pub mod usage;
pub mod windows;

pub use ask::{Ask, Route, Tenant};
pub use call::{Call, Deadlines};
pub use filter::{Backend, Chain, Filter, Next};
pub use refusal::{Fault, Reason, Refusal};
pub use reply::{Batch, Body, Broken, End, Event, Events, Reply, Watch};

use std::sync::Arc;

/// What every room of the chain needs to be built.
#[derive(Clone)]
pub struct Rooms {
    pub dedup: dedup::Config,
    /// Shared with whoever admits requests that go through without the chain.
    pub limiter: Arc<rate_limit::Limiter>,
    pub tokenizers: Arc<tokens::Tokenizers>,
    /// Shared with the admin port and the background.
    pub cache: Arc<semantic_cache::Cache>,
    /// Shared with the admin port and the background.
    pub fleet: Arc<breaker::Fleet>,
    /// Shared with the admin port and the background.
    pub books: Arc<cost::Books>,
}

impl Rooms {
    /// Who keeps the books of what was not spent.
    fn savings(&self) -> Arc<dyn charge::Savings> {
        self.books.clone()
    }
}

/// What chains under one settings after another share: their instruments, and the flights that can be joined.
pub struct Lasting {
    durations: filter::Durations,
    flying: dedup::Flying,
    latency: Arc<latency::Latency>,
}

impl Lasting {
    pub fn new(meter: &opentelemetry::metrics::Meter) -> Self {
        Lasting {
            durations: filter::Durations::new(meter),
            flying: dedup::Flying::new(meter),
            latency: Arc::new(latency::Latency::new(meter)),
        }
    }
}

/// THE ORDER of the rooms, outermost first. It stands here and nowhere else.
pub fn chain(parts: &Rooms, lasting: &Lasting, backend: Arc<dyn Backend>) -> Chain {
    let mut rooms: Vec<Arc<dyn Filter>> = Vec::new();
    if parts.dedup.enabled {
        // First, so that every room below sees a question once, however many ask it.
        rooms.push(Arc::new(dedup::Dedup::over(&lasting.flying, &parts.dedup, parts.savings())));
    }
    if parts.limiter.has_limits() {
        // Before whatever costs, so that what is refused costs nothing.
        rooms.push(Arc::new(rate_limit::RateLimit::new(parts.limiter.clone(), parts.tokenizers.clone())));
    }
    if parts.cache.is_on() {
        // Above all that calls the backend, so that what is known is known when the backend is not well.
        rooms.push(Arc::new(semantic_cache::SemanticCache::new(parts.cache.clone(), parts.savings())));
    }
    // Above what counts and measures, so that every call that it makes is counted and measured.
    rooms.push(Arc::new(breaker::Breaker::new(parts.fleet.clone())));
    // Below what repeats calls and above what makes them: each that is really made is paid for, and none twice.
    rooms.push(Arc::new(cost::Cost::new(parts.books.clone())));
    // Last, so that it times what the backend really did and nothing of ours.
    rooms.push(lasting.latency.clone());
    Chain::timed(rooms, backend, &lasting.durations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rooms_stand_in_the_order_that_the_owner_fixed() {
        let meter = opentelemetry::global::meter("test");
        let limits = r#"{"limits":[{"name":"rpm","amount":1,"window":"1m"}]}"#;
        let limits = serde_json::from_str(limits).expect("a good limit");
        let limiter = rate_limit::Limiter::new(&limits, tenants::Names::default(), None, &meter).expect("good limits");
        let tokenizers = Arc::new(tokens::Tokenizers::new(&[]).expect("no files to read"));
        let (config, names) = (semantic_cache::Config::default(), tenants::Names::default());
        let cache =
            semantic_cache::Cache::new(&config, names, None, tokenizers.clone(), &meter).expect("good settings");
        let dedup = dedup::Config::default();
        let fleet = breaker::Fleet::new(&breaker::Config::default(), &[], &meter);
        let config = cost::Config::default();
        let books = cost::books::Parts::alone(&config, tokenizers.clone(), &meter);
        let books = cost::Books::new(books).expect("good settings");
        let parts = Rooms { dedup, limiter, tokenizers, cache, fleet, books };
        let chain = chain(&parts, &Lasting::new(&meter), Arc::new(testing::Scripted::default()));
        assert_eq!(
            chain.names().collect::<Vec<_>>(),
            ["dedup", "rate_limit", "semantic_cache", "breaker", "cost", "latency"],
            "a room entered, left or moved: the order is dedup, rate_limit, semantic_cache, breaker, cost, latency"
        );
    }
}
