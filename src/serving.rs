//! What holds now: one generation of settings, with all that requests look at under them.
//!
//! A request takes the generation once, at its begin, and keeps to it until its end. A reload puts another in its place. What is
//! to survive (charges, breakers, money, kept answers, flights) is shared between them, see `renewed` of each part.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;
use outrigger_filters::breaker::Fleet;
use outrigger_filters::cost::Books;
use outrigger_filters::rate_limit::Limiter;
use outrigger_filters::semantic_cache::Cache;
use outrigger_filters::tokens::Tokenizers;
use outrigger_filters::{self as filters, Chain, Lasting};

use crate::backend::Backends;
use crate::config::Config;
use crate::telemetry::Telling;

/// The generation that holds now. To read it takes no lock.
pub type Current = ArcSwap<Serving>;

pub struct Serving {
    pub config: Config,
    pub chain: Chain,
    pub limiter: Arc<Limiter>,
    /// The headers that limits tell senders apart by.
    pub marks: Vec<HeaderName>,
    pub cache: Arc<Cache>,
    pub books: Arc<Books>,
    pub backends: Arc<Backends>,
    pub telling: Telling,
}

/// What a generation is made of.
pub struct Parts {
    pub limiter: Arc<Limiter>,
    pub tokenizers: Arc<Tokenizers>,
    pub cache: Arc<Cache>,
    pub books: Arc<Books>,
    pub backends: Arc<Backends>,
    pub telling: Telling,
}

impl Serving {
    pub fn new(config: Config, parts: Parts, lasting: &Lasting) -> Arc<Self> {
        let Parts { limiter, tokenizers, cache, books, backends, telling } = parts;
        let rooms = filters::Rooms {
            dedup: config.dedup.clone(),
            limiter: limiter.clone(),
            tokenizers,
            cache: cache.clone(),
            fleet: backends.fleet().clone(),
            books: books.clone(),
        };
        let chain = filters::chain(&rooms, lasting, backends.clone());
        let marks = config.rate_limit.headers();
        Arc::new(Serving { config, chain, limiter, marks, cache, books, backends, telling })
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        self.backends.fleet()
    }
}
