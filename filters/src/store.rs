//! The connection to Redis or Valkey, single or a cluster, that rooms share: an answer in time, or none at once.
//!
//! A request waits for it `timeout_ms` at most, and not at all while it is down: the breaker in front
//! of it opens at the first fault that more requests would only meet again, and at three timeouts in
//! a row. Meanwhile a background loop tries the whole path, a write included, until it works.
//! Each worker thread has a multiplexed connection of its own, driven on that worker's runtime, since
//! crossing threads would cost more than the round trip; what requests ask at once is pipelined on it.

mod address;
mod fault;
mod health;
mod heartbeat;
mod link;
pub mod meters;
mod script;
mod slots;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use redis::{RedisResult, Value};
use serde::Deserialize;
use tokio::time::Instant;

pub use address::Url;
pub use fault::Fault;
pub use health::Health;
pub use heartbeat::Replicas;
pub use script::{Call, Script};

use link::{Link, Opener};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `redis://` or, with TLS, `rediss://`, with user, password and database where needed. Absent:
    /// everything stays in this process.
    pub url: Option<Url>,
    /// The environment variable that holds the password, if the address does not.
    pub password_env: Option<String>,
    /// Whether the address is that of a node of a cluster.
    pub cluster: bool,
    /// More nodes of the cluster, asked for its layout if the first is away.
    pub nodes: Vec<Url>,
    /// A PEM file of the authorities that may have signed the server's certificate; Mozilla's list if absent.
    pub ca_file: Option<PathBuf>,
    /// DANGER: takes any certificate, so that anybody on the way may read and change what is said.
    pub tls_insecure: bool,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a request waits for an answer before it is decided without.
    pub timeout_ms: u64,
    /// How long opening a connection may take.
    pub connect_timeout_ms: u64,
    /// How often a server that is away is tried again.
    pub probe_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: None,
            password_env: None,
            cluster: false,
            nodes: Vec::new(),
            ca_file: None,
            tls_insecure: false,
            prefix: "outrigger".into(),
            timeout_ms: 2,
            connect_timeout_ms: 1_000,
            probe_interval_ms: 100,
        }
    }
}

/// What is wrong with the settings. Never shows a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("redis.url is not set")]
    NoAddress,
    #[error("redis.password_env names the variable {0}, which is not set")]
    NoPassword(String),
    #[error("redis.ca_file {path}: {error}")]
    Authorities { path: PathBuf, error: std::io::Error },
    #[error("redis: {0}")]
    Client(&'static str),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The store is down, or this worker has no connection yet, or it answered with an error: told at once.
    Down,
    /// No answer within `timeout_ms`.
    Slow,
}

pub struct Store {
    opener: Opener,
    slots: slots::Slots,
    health: health::Breaker,
    heartbeat: heartbeat::Heartbeat,
    meters: meters::Meters,
    timeout: Duration,
    probe_interval: Duration,
    prefix: String,
    sidecar: String,
}

impl Store {
    /// Opens nothing yet, and needs no runtime.
    pub fn new(config: &Config, meter: &Meter) -> Result<Arc<Self>, Error> {
        let sidecar = format!("{:016x}", RandomState::new().build_hasher().finish());
        let store = Arc::new(Store {
            opener: Opener::new(config)?,
            slots: slots::Slots::default(),
            health: health::Breaker::default(),
            heartbeat: heartbeat::Heartbeat::new(&config.prefix),
            meters: meters::Meters::new(meter),
            timeout: Duration::from_millis(config.timeout_ms),
            probe_interval: Duration::from_millis(config.probe_interval_ms.max(1)),
            prefix: config.prefix.clone(),
            sidecar,
        });
        meters::observe_up(meter, Arc::downgrade(&store));
        Ok(store)
    }

    pub fn health(&self) -> Health {
        self.health.now()
    }

    /// How long requests have waited for it lately.
    pub fn waited(&self, window: crate::windows::Window) -> meters::Waited {
        self.meters.told(window)
    }

    /// How long a request waits for an answer at most.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many sidecars live, this one included, and which of them this one is. As last seen.
    pub fn replicas(&self) -> Replicas {
        self.heartbeat.replicas()
    }

    /// This process among all that share the store: random, new with every start.
    pub fn sidecar(&self) -> &str {
        &self.sidecar
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Counts the times of being up; none while it is down.
    pub fn epoch(&self) -> Option<u64> {
        self.health.epoch_if_up()
    }

    /// Waits until that time of being up is over.
    pub async fn over(&self, epoch: u64) {
        self.health.over(epoch).await;
    }

    /// Waits until the store is up.
    pub async fn up(&self) {
        self.health.wait(Health::is_up).await;
    }

    /// Calls a script and waits for its answer, `timeout_ms` at most. What comes later, or when nobody
    /// waits any more, is handed to `late`, if it comes at all.
    pub async fn call<L>(self: &Arc<Self>, call: Call, late: L) -> Result<Value, Unanswered>
    where
        L: FnOnce(Value) + Send + 'static,
    {
        let (epoch, link) = self.ready().ok_or(Unanswered::Down)?;
        let begun = Instant::now();
        let mut waiting =
            Waiting { answer: Some(Box::pin(call.run(link))), late: Some(late), store: self.clone(), epoch };
        let answer = waiting.answer(self.timeout).await;
        match &answer {
            Some(outcome) => {
                self.meters.waited(begun, Some(outcome.is_ok()));
                self.observe(outcome, epoch);
            }
            None => {
                self.meters.waited(begun, None);
                self.meters.error(Fault::Slow);
                if self.health.slow(begun) {
                    self.fall(Fault::Slow, epoch);
                }
            }
        }
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(Unanswered::Down),
            None => Err(Unanswered::Slow),
        }
    }

    /// Calls a script from the background, where nobody waits. An error is what went wrong, or nothing where
    /// nothing was sent.
    pub async fn call_patiently(self: &Arc<Self>, call: Call) -> Result<Value, Option<Fault>> {
        let (epoch, link) = self.ready().ok_or(None)?;
        let Ok(outcome) = tokio::time::timeout(self.opener.patience(), call.run(link)).await else {
            self.meters.error(Fault::Slow);
            self.fall(Fault::Slow, epoch);
            return Err(Some(Fault::Slow));
        };
        self.observe(&outcome, epoch);
        outcome.map_err(|error| Some(Fault::of(&error)))
    }

    /// This thread's connection, if there is one that may be used.
    fn ready(self: &Arc<Self>) -> Option<(u64, Link)> {
        let epoch = self.health.epoch_if_up()?;
        Some((epoch, self.slots.link(self, epoch)?))
    }

    fn observe(&self, outcome: &RedisResult<Value>, epoch: u64) {
        match outcome {
            Ok(_) => self.health.answered(),
            Err(error) => {
                let fault = Fault::of(error);
                self.meters.error(fault);
                if fault.is_general() {
                    self.fall(fault, epoch);
                } else {
                    tracing::debug!(fault = fault.name(), "Redis answered one call with an error");
                }
            }
        }
    }

    /// Puts the store down, unless what failed is a connection of an earlier time.
    fn fall(&self, fault: Fault, epoch: u64) {
        if self.health.fall(fault, epoch) {
            tracing::warn!(
                address = %self.opener.address(),
                fault = fault.name(),
                "Redis is down: requests are decided without it"
            );
            self.slots.cut();
        }
    }

    fn rise(self: &Arc<Self>) {
        let was = self.health.now();
        if let Health::Down { since, reason } = was
            && reason != Fault::NotTried
        {
            self.heartbeat.lost(since);
        }
        if let Some(epoch) = self.health.rise() {
            let away_ms = match was {
                Health::Down { since, .. } => since.elapsed().as_millis() as u64,
                Health::Up => 0,
            };
            tracing::info!(address = %self.opener.address(), away_ms, "Redis is up");
            self.slots.connect_all(self, epoch);
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>>;

/// A call that somebody waits for. Let go before its answer, by time or by a client that left, it goes on
/// by itself: Redis will do what it was told, so whoever keeps the books has to hear of it.
struct Waiting<L: FnOnce(Value) + Send + 'static> {
    answer: Option<Answering>,
    late: Option<L>,
    store: Arc<Store>,
    epoch: u64,
}

impl<L: FnOnce(Value) + Send + 'static> Waiting<L> {
    async fn answer(&mut self, timeout: Duration) -> Option<RedisResult<Value>> {
        let answer = self.answer.as_mut()?;
        let mut outcome = tokio::time::timeout(timeout, &mut *answer).await.ok();
        if outcome.is_none() {
            // A busy worker may be late itself, with the answer lying unread in the socket: after this
            // the socket has been looked at once more.
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            outcome = futures::FutureExt::now_or_never(&mut *answer);
        }
        if outcome.is_some() {
            self.answer = None;
        }
        outcome
    }
}

impl<L: FnOnce(Value) + Send + 'static> Drop for Waiting<L> {
    fn drop(&mut self) {
        let (Some(answer), Some(late)) = (self.answer.take(), self.late.take()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, epoch) = (self.store.clone(), self.epoch);
        runtime.spawn(async move {
            tokio::select! {
                outcome = answer => {
                    store.observe(&outcome, epoch);
                    if let Ok(value) = outcome {
                        late(value);
                    }
                }
                () = store.health.over(epoch) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests;
