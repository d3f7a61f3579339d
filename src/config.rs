//! The settings: parsed into types that need no second look, from a file, the environment, or neither.
//!
//! A field's comment is its manual; `config/outrigger.toml` shows every key with its default.

mod backend;
mod gpu;
mod load;
mod route;
mod telemetry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use outrigger_filters::tenants::Names;
use outrigger_filters::tokens::Tokenizers;
use outrigger_filters::{Tenant, alerts, breaker, cost, dedup, latency, rate_limit, semantic_cache, store, tokens};
use serde::Deserialize;

pub use backend::{Backend, BackendUrl, Protocol};
pub use gpu::{Gpu, Mode, WhenCritical, Which};
pub use load::{Loaded, load, meant};
pub use outrigger_filters::models::Models;
pub use route::Passed;
pub use telemetry::{LogFormat, OtlpProtocol, Telemetry};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: Server,
    pub tenants: Tenants,
    pub redis: store::Config,
    pub backends: Vec<Backend>,
    /// Tokenizers of models, to count their tokens with.
    pub tokenizers: Vec<tokens::Config>,
    pub dedup: dedup::Config,
    pub rate_limit: rate_limit::Config,
    pub semantic_cache: semantic_cache::Config,
    pub breaker: breaker::Config,
    pub cost: cost::Config,
    pub latency: latency::Config,
    pub alerts: alerts::Config,
    pub health: Health,
    pub gpu: Gpu,
    pub telemetry: Telemetry,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where clients come in: HTTP/1.1 and HTTP/2 on one port.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz`, `/healthz`, `/metrics` and `/api/…` are answered. Keep it off the open network.
    pub admin: SocketAddr,
    /// Names that the admin port is asked by, beside addresses, names without a dot, and those of a cluster.
    pub admin_hosts: Vec<String>,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// A request's body at most; more is refused with 413.
    pub max_body_bytes: NonZeroUsize,
    /// A request's head at most; more is refused with 431.
    pub max_head_bytes: NonZeroUsize,
    /// From a connection's first byte, or its opening, until the head is there.
    pub head_timeout_ms: Millis,
    /// From the head until the whole body is there.
    pub body_timeout_ms: Millis,
    /// How long one piece of an answer may take to leave for a client that does not read.
    pub write_timeout_ms: Millis,
    /// How long a connection may stand idle between two requests.
    pub idle_timeout_secs: NonZeroU64,
    /// Streams that one HTTP/2 connection may have open at once.
    pub max_streams: u32,
    /// `METHOD /path` of what is handed through without the chain; `*` stands for one segment, at the
    /// end for all the rest, and in place of the method for any.
    pub passed: Vec<Passed>,
    /// Request headers that reach the backend besides those that the APIs know.
    #[serde(deserialize_with = "header_names")]
    pub forwarded_headers: Vec<HeaderName>,
    /// PEM files of the certificate chain and its key; both or neither.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// After SIGTERM: how long requests in flight may take to end.
    pub drain_secs: u64,
    /// A path for a Unix socket at which a new process, started with `--upgrade`, takes this one's place. Empty: none.
    #[serde(deserialize_with = "path_if_any")]
    pub upgrade_socket: Option<PathBuf>,
    /// How long requests in flight may take to end once another process has taken over.
    pub upgrade_drain_secs: u64,
}

type NonZeroU64 = std::num::NonZeroU64;

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            admin_hosts: Vec::new(),
            threads: 0,
            max_body_bytes: const { NonZeroUsize::new(32 * 1024 * 1024).unwrap() },
            max_head_bytes: const { NonZeroUsize::new(64 * 1024).unwrap() },
            head_timeout_ms: Millis::of(10_000),
            body_timeout_ms: Millis::of(60_000),
            write_timeout_ms: Millis::of(60_000),
            idle_timeout_secs: const { NonZeroU64::new(60).unwrap() },
            max_streams: 256,
            passed: Passed::defaults(),
            forwarded_headers: Vec::new(),
            tls_cert: None,
            tls_key: None,
            drain_secs: 30,
            upgrade_socket: None,
            upgrade_drain_secs: 3_600,
        }
    }
}

/// A span of time that is not zero, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Millis(NonZeroU64);

impl Millis {
    const fn of(millis: u64) -> Self {
        match NonZeroU64::new(millis) {
            Some(millis) => Millis(millis),
            None => Millis(NonZeroU64::MIN),
        }
    }

    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0.get())
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenants {
    /// Who a request comes from: `bearer` (its key, hashed), `header:<name>`, or `none` (all are one).
    pub from: TenantsFrom,
    /// Tenants that have names: for limits of their own, and to be asked for by.
    pub names: BTreeMap<String, Who>,
}

/// How a tenant that has a name is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The environment variable that holds its key.
    KeyEnv(String),
    /// What the header of `tenants.from` says of it.
    Value(String),
    /// The digest of its key, as `outrigger tenant` prints it.
    Digest(String),
}

impl Who {
    fn tenant(&self) -> Result<Tenant, String> {
        match self {
            Who::KeyEnv(variable) => match std::env::var(variable) {
                Ok(key) if !key.trim().is_empty() => Ok(Tenant::of(key.trim().as_bytes())),
                _ => Err(format!("the environment variable {variable} is not set")),
            },
            Who::Value(value) => Ok(Tenant::of(value.as_bytes())),
            Who::Digest(digest) => Tenant::with_digest(digest)
                .ok_or_else(|| "a digest is 64 hex digits, as `outrigger tenant` prints it".to_owned()),
        }
    }
}

impl Tenants {
    /// # Errors
    /// The name that nobody can be found by, and why.
    pub fn names(&self) -> Result<Names, (String, String)> {
        let named = |(name, who): (&String, &Who)| match who.tenant() {
            Ok(tenant) => Ok((name.clone(), tenant)),
            Err(why) => Err((format!("tenants.names.{name}"), why)),
        };
        self.names.iter().map(named).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TenantsFrom {
    #[default]
    Bearer,
    Header(HeaderName),
    None,
}

impl<'de> Deserialize<'de> for TenantsFrom {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.strip_prefix("header:").map(str::trim)) {
            ("bearer", _) => Ok(TenantsFrom::Bearer),
            ("none", _) => Ok(TenantsFrom::None),
            (_, Some(name)) => name
                .parse()
                .map(TenantsFrom::Header)
                .map_err(|_| serde::de::Error::custom(format!("`{name}` is not the name of a header"))),
            _ => Err(serde::de::Error::custom("expected `bearer`, `none` or `header:<name>`")),
        }
    }
}

/// An empty one is none.
fn path_if_any<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

fn header_names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let parse = |name: String| name.parse().map_err(|_| format!("`{name}` is not the name of a header"));
    names.into_iter().map(parse).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

impl Config {
    /// What no single key can say: the first thing wrong between keys, by the path of the key.
    fn contradiction(&self) -> Option<(String, String)> {
        let place = |(key, message): (&'static str, String)| (key.to_owned(), message);
        let clash = self.clash().map(place).or_else(|| self.limits_clash()).or_else(|| self.cache_clash());
        let clash = clash.or_else(|| self.backends_clash()).or_else(|| self.costs_clash());
        let clash = clash.or_else(|| self.seeing_clash());
        let gpu = || self.gpu.contradiction(&self.backends).map(|(key, words)| (format!("gpu.{key}"), words));
        clash.or_else(gpu).or_else(|| self.missing_part())
    }

    fn backends_clash(&self) -> Option<(String, String)> {
        for (place, backend) in self.backends.iter().enumerate() {
            if self.backends[..place].iter().any(|other| other.name == backend.name) {
                let words = format!("another backend is called `{}` already", backend.name);
                return Some((format!("backends.{place}.name"), words));
            }
            if backend.health_path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                return Some((format!("backends.{place}.health_path"), "a path begins with `/`".to_owned()));
            }
        }
        self.breaker.contradiction().map(|(key, words)| (format!("breaker.{key}"), words))
    }

    fn costs_clash(&self) -> Option<(String, String)> {
        let names = self.tenants.names().unwrap_or_default();
        self.cost.contradiction(&names).map(|(key, words)| (format!("cost.{key}"), words))
    }

    fn seeing_clash(&self) -> Option<(String, String)> {
        let below = |table: &'static str| move |(key, words): (String, String)| (format!("{table}.{key}"), words);
        let latency = self.latency.contradiction().map(below("latency"));
        let alerts = || self.alerts.contradiction().map(below("alerts"));
        let share = |(key, share): (&str, f64)| {
            let words = "more than 0 and at most 1 is expected".to_owned();
            (!(share > 0.0 && share <= 1.0)).then(|| (format!("health.{key}"), words))
        };
        let names = || self.backends.iter().map(|backend| backend.name.as_str());
        for (place, rule) in self.alerts.rules.iter().enumerate() {
            if let Some(wanted) = rule.backend.as_deref().filter(|wanted| !names().any(|name| name == *wanted)) {
                return Some((format!("alerts.rules.{place}.backend"), format!("no backend is called `{wanted}`")));
            }
        }
        let Health { memory_share, disk_share, error_rate } = self.health;
        let health = [("memory_share", memory_share), ("disk_share", disk_share), ("error_rate", error_rate)];
        latency.or_else(alerts).or_else(|| health.into_iter().find_map(share))
    }

    fn cache_clash(&self) -> Option<(String, String)> {
        let names = self.tenants.names().unwrap_or_default();
        let rules = || semantic_cache::config::Rules::new(&self.semantic_cache, &names).err();
        let wrong = self.semantic_cache.contradiction().or_else(rules)?;
        Some((format!("semantic_cache.{}", wrong.0), wrong.1))
    }

    fn limits_clash(&self) -> Option<(String, String)> {
        let below = |(key, message): (String, String)| (format!("rate_limit.{key}"), message);
        let names = match self.tenants.names() {
            Ok(names) => names,
            Err(wrong) => return Some(wrong),
        };
        let wrong = self.rate_limit.contradiction();
        wrong.or_else(|| self.rate_limit.check_names(&names).err()).map(below)
    }

    fn clash(&self) -> Option<(&'static str, String)> {
        if self.backends.is_empty() {
            let how = "name one: `[[backends]]` with `url = \"http://127.0.0.1:8000\"`, or set OUTRIGGER_BACKEND";
            return Some(("backends", format!("no backend is configured; {how}")));
        }
        if self.server.tls_cert.is_some() != self.server.tls_key.is_some() {
            return Some(("server.tls_cert", "tls_cert and tls_key go together".to_owned()));
        }
        if self.server.listen == self.server.admin && self.server.listen.port() != 0 {
            return Some(("server.admin", "the admin port must not be the clients' port".to_owned()));
        }
        if self.server.max_streams == 0 {
            return Some(("server.max_streams", "must be at least 1".to_owned()));
        }
        if self.dedup.max_readers == 0 || self.dedup.max_log_bytes == 0 {
            return Some(("dedup", "max_readers and max_log_bytes must be at least 1".to_owned()));
        }
        self.telemetry.contradiction()
    }

    /// Files and variables that the settings name and that are not there.
    fn missing_part(&self) -> Option<(String, String)> {
        let at = |place: usize, key: &str| format!("backends.{place}.{key}");
        let files = [
            ("server.tls_cert", &self.server.tls_cert),
            ("server.tls_key", &self.server.tls_key),
            ("redis.ca_file", &self.redis.ca_file),
        ];
        let files = files.into_iter().map(|(key, file)| (key.to_owned(), file));
        let backends = || self.backends.iter().enumerate();
        let authorities = backends().map(|(place, backend)| (at(place, "ca_file"), &backend.ca_file));
        for (key, file) in files.chain(authorities) {
            if let Some(file) = file
                && let Err(error) = std::fs::File::open(file)
            {
                return Some((key, format!("cannot read {}: {error}", file.display())));
            }
        }
        if let Err(error) = Tokenizers::new(&self.tokenizers) {
            return Some(("tokenizers".to_owned(), error.to_string()));
        }
        let keys =
            backends().filter_map(|(place, backend)| Some((at(place, "api_key_env"), backend.api_key_env.as_ref()?)));
        let named = |key: &str, variable: &'_ String| (key.to_owned(), variable.clone());
        let keys = keys.map(|(key, variable)| named(&key, variable));
        let webhook = self.alerts.webhook_key_env.iter().map(|variable| named("alerts.webhook_key_env", variable));
        let password = self.redis.password_env.iter().map(|variable| named("redis.password_env", variable));
        let unset = |variable: &str| !std::env::var(variable).is_ok_and(|value| !value.is_empty());
        let (key, variable) = keys.chain(password).chain(webhook).find(|(_, variable)| unset(variable))?;
        Some((key, format!("the environment variable {variable} is not set")))
    }
}

/// From where on `/healthz` says that a part is not well.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Memory that is taken, of the container's limit or the machine's.
    pub memory_share: f64,
    /// What is taken of the fullest disk that is written to.
    pub disk_share: f64,
    /// Requests that failed by no fault of their clients, of those of the last minute.
    pub error_rate: f64,
}

impl Default for Health {
    fn default() -> Self {
        Health { memory_share: 0.9, disk_share: 0.97, error_rate: 0.05 }
    }
}

/// The environment as far as it concerns the settings.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars().filter(|(name, _)| name.starts_with("OUTRIGGER_")).collect()
}

#[cfg(test)]
mod tests;
