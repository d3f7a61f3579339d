//! The parts that outlive requests, each with what goes on behind them.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use outrigger_filters::breaker::Fleet;
use outrigger_filters::cost::{Books, books};
use outrigger_filters::rate_limit::Limiter;
use outrigger_filters::semantic_cache::{Cache, cache};
use outrigger_filters::store::Store;
use outrigger_filters::tokens::Tokenizers;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::backend::Reaching;
use crate::config::{Backend, Config};
use crate::serving::Current;
use crate::telemetry::Metrics;

/// The limits and the store that they share with other sidecars.
#[derive(Clone)]
pub struct Limits {
    pub limiter: Arc<Limiter>,
    pub store: Option<Arc<Store>>,
    pub tokenizers: Arc<Tokenizers>,
}

impl Limits {
    pub fn new(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let wrong = |(key, words): (String, String)| anyhow::anyhow!("{key}: {words}");
        let store = config.redis.url.as_ref().map(|_| Store::new(&config.redis, &metrics.meter));
        let store = store.transpose().context("redis")?;
        let names = config.tenants.names().map_err(wrong)?;
        let limiter = Limiter::new(&config.rate_limit, names, store.clone(), &metrics.meter).map_err(wrong)?;
        for words in config.rate_limit.pointless() {
            tracing::warn!("{words}");
        }
        let tokenizers = Arc::new(Tokenizers::new(&config.tokenizers).context("tokenizers")?);
        Ok(Limits { limiter, store, tokenizers })
    }
}

#[async_trait]
impl BackgroundService for Limits {
    /// Never told to stop: while requests in flight end, what they hold is settled and renewed.
    async fn start(&self, _shutdown: ShutdownWatch) {
        if self.limiter.counts_tokens() {
            // The usual encoding takes a tenth of a second to unfold: not when the first request waits for it.
            let tokenizers = self.tokenizers.clone();
            tokio::task::spawn_blocking(move || tokenizers.text(None, "ready"));
        }
        let store = async {
            if let Some(store) = &self.store {
                store.clone().run().await;
            }
        };
        tokio::join!(store, self.limiter.clone().run());
    }
}

/// The kept answers, with what goes on behind the requests.
pub struct Kept(pub Arc<Cache>);

impl Kept {
    pub fn new(
        config: &Config,
        metrics: &Metrics,
        limits: &Limits,
        disk_lock: Option<OwnedFd>,
    ) -> anyhow::Result<Self> {
        let wrong = |(key, words): (String, String)| anyhow::anyhow!("semantic_cache.{key}: {words}");
        let names = config.tenants.names().map_err(|(key, words)| anyhow::anyhow!("{key}: {words}"))?;
        let (store, tokenizers) = (limits.store.clone(), limits.tokenizers.clone());
        let (config, meter) = (&config.semantic_cache, &metrics.meter);
        let parts = cache::Parts { config, names, store, tokenizers, meter, disk_lock };
        let cache = Cache::beside(parts).map_err(wrong)?;
        if let Some(why) = cache.without_meaning().filter(|_| cache.is_on() && !cache.wants_a_model()) {
            tracing::info!(why, "questions are matched by their words, and not by their meaning");
        }
        Ok(Kept(cache))
    }
}

#[async_trait]
impl BackgroundService for Kept {
    /// Never told to stop: requests in flight go on asking.
    async fn start(&self, _shutdown: ShutdownWatch) {
        self.0.run().await;
    }
}

/// The books, with what goes on behind the requests.
pub struct Spending(pub Arc<Books>);

impl Spending {
    pub fn new(
        config: &Config,
        metrics: &Metrics,
        limits: &Limits,
        ledger_lock: Option<OwnedFd>,
    ) -> anyhow::Result<Self> {
        let books = Books::new(books::Parts {
            config: &config.cost,
            backends: config.backends.iter().map(Backend::for_costs).collect(),
            names: config.tenants.names().map_err(|(key, words)| anyhow::anyhow!("{key}: {words}"))?,
            store: limits.store.clone(),
            tokenizers: limits.tokenizers.clone(),
            meter: &metrics.meter,
            ledger_lock,
        });
        Ok(Spending(books.map_err(|(key, words)| anyhow::anyhow!("cost.{key}: {words}"))?))
    }
}

#[async_trait]
impl BackgroundService for Spending {
    /// Never told to stop: requests in flight go on spending.
    async fn start(&self, _shutdown: ShutdownWatch) {
        self.0.clone().run().await;
    }
}

/// The backends, with what is found out about them behind the requests.
pub struct Watched(pub Mutex<Option<Arc<Fleet>>>, pub Arc<Current>);

#[async_trait]
impl BackgroundService for Watched {
    /// Never told to stop: requests in flight go on choosing.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let fleet = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fleet) = fleet {
            fleet.run(Arc::new(Reaching(self.1.clone()))).await;
        }
    }
}
