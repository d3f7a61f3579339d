//! The settings read again while requests are answered: what can change changes at once, the rest is named with its reason.
//!
//! First all parts are made anew, each from the one that holds; only when all could be made they take over. So settings that are
//! wrong change nothing. Requests in flight keep to the generation that they began with (see [`crate::serving`]).

mod changes;
mod keys;
mod told;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use outrigger_filters as filters;
use outrigger_filters::tokens::Tokenizers;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use toml::Table;

use crate::backend::Backends;
use crate::config::{self, Config};
use crate::events::Events;
use crate::insight::{self, Insight};
use crate::service::spoken;
use crate::serving::{Current, Parts, Serving};
use crate::telemetry::{Desk, Orders, Telling, Verbosity, check_level};
use crate::tls::{self, Certificates};
use crate::webhook::Address;
use keys::Refused;
pub use told::{Outcome, Told};

/// What outlives each generation.
pub struct Lasting {
    pub current: Arc<Current>,
    pub rooms: filters::Lasting,
    pub tokenizers: Arc<Tokenizers>,
    pub insight: Arc<Insight>,
    pub desk: Arc<Desk>,
    pub orders: Arc<Orders>,
    pub verbosity: Verbosity,
    pub certificates: Option<Arc<Certificates>>,
    pub events: Arc<Events>,
}

/// Where the settings come from, and what they said last.
pub struct Source {
    pub file: Option<PathBuf>,
    pub table: Table,
}

pub struct Reload {
    lasting: Lasting,
    /// Held while they are read: one at a time.
    state: Mutex<State>,
    last: Mutex<Option<Told>>,
    count: Counter<u64>,
}

struct State {
    file: Option<PathBuf>,
    /// As they were read last, whether or not all of it could take effect.
    read: Table,
    /// As they hold.
    holds: Table,
    prices: Option<Vec<u8>>,
    /// The names that backends have or had: the place of each is its own for ever.
    names: Vec<String>,
}

/// A generation that is ready to take over.
struct Next {
    serving: Arc<Serving>,
    insight: insight::Renewal,
    certificate: Option<Arc<CertifiedKey>>,
}

/// The path of the key that is wrong, and why.
type Wrong = (String, String);

impl Reload {
    pub fn new(lasting: Lasting, source: Source, meter: &Meter) -> Self {
        let serving = lasting.current.load_full();
        let names = serving.config.backends.iter().map(|backend| backend.name.clone()).collect();
        let Source { file, table } = source;
        let prices = prices(&serving.config);
        let state = State { file, read: table.clone(), holds: table, prices, names };
        let count = meter
            .u64_counter("outrigger_reloads")
            .with_description("Times that the settings were read again: applied, partly, unchanged, invalid.")
            .build();
        Reload { lasting, state: Mutex::new(state), last: Mutex::default(), count }
    }

    /// Reads the settings again, and says what came of it; none where that failed inside.
    pub async fn run(self: Arc<Self>, by: &'static str) -> Option<Told> {
        // It reads files, and maybe the ledger.
        tokio::task::spawn_blocking(move || self.read_again(by)).await.ok()
    }

    /// What came of it last.
    pub fn last(&self) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        json!({ "last": last.as_ref().map(Told::json) })
    }

    fn read_again(&self, by: &'static str) -> Told {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Told::now(by, self.reread(&mut state));
        drop(state);
        told.log();
        self.count.add(1, &[KeyValue::new("outcome", told.outcome.name())]);
        self.lasting.events.say("reload", told.json());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(told.clone());
        told
    }

    fn reread(&self, state: &mut State) -> Outcome {
        let loaded = match config::load(state.file.as_deref(), &config::environment()) {
            Ok(loaded) => loaded,
            Err(problem) => return Outcome::Invalid(problem.to_string()),
        };
        let before = self.lasting.current.load_full();
        let prices = prices(&loaded.config);
        let certificate = match self.certificate(&loaded.config) {
            Ok(certificate) => certificate,
            Err(wrong) => return Outcome::Invalid(said(wrong)),
        };
        if loaded.table == state.read && prices == state.prices && certificate.is_none() {
            return Outcome::Unchanged;
        }
        let mut changed = changes::changed(&state.holds, &loaded.table);
        let refused = keys::refused(&changed, &before.config, &loaded.config);
        let mut holds = loaded.table.clone();
        refused.iter().for_each(|refused| changes::restore(&refused.kept, &state.holds, &mut holds));
        changed.retain(|key| refused.iter().all(|refused| refused.key != *key));
        if prices != state.prices && !changed.iter().any(|key| key == "cost.prices") {
            changed.push("cost.prices (its file)".to_owned());
        }
        if certificate.is_some() && !changed.iter().any(|key| key.starts_with("server.tls_")) {
            changed.push("server.tls_cert (its file)".to_owned());
        }
        let meant = if refused.is_empty() { Ok(loaded.config) } else { config::meant(holds.clone()) };
        let next = meant.and_then(|config| self.next(&before, config, certificate, &mut state.names));
        match next {
            Ok(next) => self.take_over(next),
            Err(wrong) => return Outcome::Invalid(beside(&refused, said(wrong))),
        }
        (state.read, state.holds, state.prices) = (loaded.table, holds, prices);
        Outcome::of(changed, refused)
    }

    /// The certificate to be shown from now on, where it is another one.
    fn certificate(&self, config: &Config) -> Result<Option<Arc<CertifiedKey>>, Wrong> {
        let (Some(shown), Some(chain), Some(key)) =
            (&self.lasting.certificates, &config.server.tls_cert, &config.server.tls_key)
        else {
            return Ok(None);
        };
        let read = tls::read(chain, key).map_err(|error| ("server.tls_cert".to_owned(), format!("{error:#}")))?;
        Ok(shown.differs(&read).then_some(read))
    }

    /// All parts made anew. Nothing has changed yet.
    fn next(
        &self,
        before: &Serving,
        mut config: Config,
        certificate: Option<Arc<CertifiedKey>>,
        names: &mut Vec<String>,
    ) -> Result<Next, Wrong> {
        // What port 0 has become.
        (config.server.listen, config.server.admin) = (before.config.server.listen, before.config.server.admin);
        let below = |table: &'static str| move |(key, words): Wrong| (format!("{table}.{key}"), words);
        let failed = |key: &'static str| move |error: anyhow::Error| (key.to_owned(), format!("{error:#}"));
        check_level(&config.telemetry).map_err(failed("telemetry.log_level"))?;
        let tenants = config.tenants.names()?;
        let places: Vec<usize> = config.backends.iter().map(|backend| place(names, &backend.name)).collect();
        let placed = || places.iter().copied().zip(&config.backends);
        let limiter = before.limiter.renewed(&config.rate_limit, tenants.clone()).map_err(below("rate_limit"))?;
        let cache = before.cache.renewed(&config.semantic_cache, tenants.clone()).map_err(below("semantic_cache"))?;
        let for_costs = placed().map(|(place, backend)| (place, backend.for_costs())).collect();
        let books = before.books.renewed(&config.cost, for_costs, tenants).map_err(below("cost"))?;
        let for_breaker: Vec<_> = placed().map(|(place, backend)| (place, backend.for_breaker())).collect();
        let fleet = before.fleet().renewed(&config.breaker, &for_breaker);
        let backends = Backends::renewed(&before.backends, placed(), fleet.clone()).map_err(failed("backends"))?;
        let insight = insight::Renewal {
            latency: config.latency.clone(),
            alerts: config.alerts.clone(),
            webhook: Address::of(&config.alerts).map_err(failed("alerts.webhook_url"))?,
            backends: names.clone(),
            fleet,
            books: books.clone(),
            cache: cache.clone(),
        };
        let parts = Parts {
            limiter,
            tokenizers: self.lasting.tokenizers.clone(),
            cache,
            books,
            backends: Arc::new(backends),
            telling: Telling::new(&config.telemetry, self.lasting.desk.clone()),
        };
        Ok(Next { serving: Serving::new(config, parts, &self.lasting.rooms), insight, certificate })
    }

    fn take_over(&self, next: Next) {
        let Next { serving, insight, certificate } = next;
        let Lasting { current, orders, verbosity, certificates, .. } = &self.lasting;
        let config = &serving.config;
        if serving.limiter.counts_tokens() || !serving.config.cost.budgets.is_empty() {
            // The usual encoding takes a tenth of a second to unfold: not when the first request waits for it.
            self.lasting.tokenizers.text(None, "ready");
        }
        // Whoever looks a call's backend up by its place must find it before there is such a call.
        let mut servers = Vec::clone(&orders.servers.load());
        for (place, name) in insight.backends.iter().enumerate() {
            let spoken = config.backends.iter().find(|backend| backend.name == *name).map(spoken);
            match (servers.get_mut(place), spoken) {
                (Some(server), Some(spoken)) => *server = spoken,
                (None, Some(spoken)) => servers.push(spoken),
                (_, None) => {}
            }
        }
        orders.servers.store(Arc::new(servers));
        orders.access_log.store(config.telemetry.access_log, Ordering::Relaxed);
        if let Err(error) = verbosity.set(&config.telemetry) {
            tracing::warn!(%error, "the log goes on at its level");
        }
        if let (Some(certificates), Some(certificate)) = (certificates, certificate) {
            certificates.show(certificate);
        }
        self.lasting.insight.renew(insight);
        serving.limiter.take_over();
        serving.fleet().take_over();
        serving.books.take_over();
        for words in config.rate_limit.pointless() {
            tracing::warn!("{words}");
        }
        current.store(serving);
    }
}

/// The file of prices, which may change while its name does not.
fn prices(config: &Config) -> Option<Vec<u8>> {
    let path = &config.cost.prices;
    (!path.as_os_str().is_empty()).then(|| std::fs::read(path).unwrap_or_default())
}

/// The place of a backend of this name: its own since it was first heard of.
fn place(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

fn said((key, words): Wrong) -> String {
    format!("{key}: {words}")
}

/// What is good by itself may not be so beside what keeps its old value.
fn beside(refused: &[Refused], words: String) -> String {
    match refused.first() {
        None => words,
        Some(Refused { key, .. }) => format!("{words}, beside what cannot be changed while running ({key})"),
    }
}

/// From now on SIGHUP does not end the process: it may be sent before anybody waits for it.
///
/// # Errors
/// If signals cannot be heard.
pub fn hear_hangups() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { signal(SignalKind::hangup()).map(drop) })
}

/// Waits for SIGHUP.
pub struct Hangups(pub Arc<Reload>);

#[async_trait]
impl BackgroundService for Hangups {
    /// Never told to stop: while requests in flight end, others may come by connections that there are.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(%error, "SIGHUP cannot be heard; POST /api/reload can"),
        };
        while hangups.recv().await.is_some() {
            if self.0.clone().run("signal").await.is_none() {
                tracing::error!("the settings could not be read again");
            }
        }
    }
}
