//! The chain of rooms that a question goes through, from the client's side to the backend's.
//!
//! This crate holds the policy and knows no proxy: it is handed an [`Ask`] and answers with a
//! [`Reply`] or a [`Refusal`]. The compiler keeps that wall.

pub mod ask;
pub mod canonical;
pub mod dedup;
pub mod estimate;
pub mod filter;
pub mod labels;
pub mod latency;
pub mod models;
pub mod rate_limit;
pub mod refusal;
pub mod reply;
pub mod sse;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokens;
pub mod usage;

pub use ask::{Ask, Route, Tenant};
pub use filter::{Backend, Chain, Filter, Next};
pub use refusal::{Fault, Reason, Refusal};
pub use reply::{Batch, Body, Broken, End, Event, Events, Reply, Watch};

use std::sync::Arc;

/// What every room of the chain needs to be built.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub dedup: dedup::Config,
    pub latency: latency::Config,
}

/// THE ORDER of the rooms, outermost first. It stands here and nowhere else.
pub fn chain(config: &Config, meter: &opentelemetry::metrics::Meter, backend: Arc<dyn Backend>) -> Chain {
    let mut rooms: Vec<Arc<dyn Filter>> = Vec::new();
    if config.dedup.enabled {
        // First, so that every room below sees a question once, however many ask it.
        rooms.push(Arc::new(dedup::Dedup::new(&config.dedup, meter)));
    }
    // Last, so that it times what the backend really did and nothing of ours.
    rooms.push(Arc::new(latency::Latency::new(&config.latency, meter)));
    Chain::new(rooms, backend, meter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rooms_stand_in_the_order_that_the_owner_fixed() {
        let meter = opentelemetry::global::meter("test");
        let chain = chain(&Config::default(), &meter, Arc::new(testing::Scripted::default()));
        assert_eq!(
            chain.names().collect::<Vec<_>>(),
            ["dedup", "latency"],
            "a room entered, left or moved: the order is dedup, rate_limit, semantic_cache, breaker, cost, latency"
        );
    }
}
