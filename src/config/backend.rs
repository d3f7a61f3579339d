//! A backend as the settings name it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::Uri;
use outrigger_filters::breaker;
use outrigger_filters::cost::books;
use serde::Deserialize;

use super::{Millis, Models};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// How the backend is called in logs, metrics and `x-outrigger-backend`. Without a name it is `local`, and the second
    /// such one `local-2`.
    #[serde(default)]
    pub name: String,
    /// Where it is: `http://host:port` or `https://host`, with a path in front of `/v1` if it has one.
    pub url: BackendUrl,
    /// The models that it serves: names, names that end in `*`, or `*` for all.
    #[serde(default = "Models::all")]
    pub models: Vec<Models>,
    /// Names that clients use for a model, and the name that this backend knows it by.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// How much of the work of its tier it gets, compared with the others.
    #[serde(default = "Backend::default_weight")]
    pub weight: Weight,
    /// Backends of a higher tier are asked only when none of a lower one can answer.
    #[serde(default)]
    pub tier: u32,
    /// A path that answers 2xx while the backend is well, as `/health`: it is asked for every
    /// `breaker.health_interval_ms`. Without one nothing is checked.
    #[serde(default)]
    pub health_path: Option<String>,
    /// Tokens that its cache of keys and values holds. Where it is known, here or by the engine's metrics, what
    /// is in flight is counted in tokens.
    #[serde(default)]
    pub kv_tokens: Option<std::num::NonZeroU64>,
    /// The name of an environment variable whose value is put in place of the client's key.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Whether streams are asked to say at their end what they used (`stream_options.include_usage`). A backend that
    /// does not know that option, and refuses it, needs `false`: then tokens are counted here.
    #[serde(default = "yes")]
    pub include_usage: bool,
    /// `auto` asks a TLS backend for HTTP/2 and takes HTTP/1.1 otherwise; `http1`; `http2`, in clear text too.
    #[serde(default)]
    pub protocol: Protocol,
    /// How long connecting may take, TLS included.
    #[serde(default = "Backend::default_connect_timeout")]
    pub connect_timeout_ms: Millis,
    /// How long an idle connection is kept. Keep it below the backend's own: uvicorn's is 5 seconds.
    #[serde(default = "Backend::default_idle_timeout")]
    pub idle_timeout_ms: Millis,
    /// A PEM file of authorities to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Takes any certificate: for tests, never for the open network.
    #[serde(default)]
    pub tls_insecure: bool,
}

const fn yes() -> bool {
    true
}

impl Backend {
    /// The name of the backend at this place of the settings, where they give it none.
    pub fn name_at(place: usize) -> String {
        if place == 0 { "local".to_owned() } else { format!("local-{}", place + 1) }
    }

    const fn default_connect_timeout() -> Millis {
        Millis::of(5_000)
    }

    const fn default_idle_timeout() -> Millis {
        Millis::of(4_000)
    }

    const fn default_weight() -> Weight {
        Weight(1.0)
    }

    /// What the breaker has to know of it.
    pub fn for_breaker(&self) -> breaker::Backend {
        breaker::Backend {
            name: self.name.clone(),
            address: format!(
                "{}://{}{}",
                if self.url.tls { "https" } else { "http" },
                self.url.authority,
                self.url.prefix
            ),
            models: self.models.clone(),
            aliases: self.aliases.clone().into_iter().collect(),
            weight: self.weight.0,
            tier: self.tier,
            own_key: self.api_key_env.is_some(),
            health_path: self.health_path.clone(),
            // A hosted API has no engine to look into, and should not be asked for one.
            metrics: !self.url.tls,
            kv_tokens: self.kv_tokens.map(Into::into),
        }
    }

    /// What costs have to know of it.
    pub fn for_costs(&self) -> books::Backend {
        books::Backend { name: self.name.as_str().into(), include_usage: self.include_usage }
    }

    /// The file of authorities to hand to Pingora, which reads one at its start whether it is needed or
    /// not, and gives up where there is none. A backend in clear text needs none.
    pub fn authorities(&self) -> Option<String> {
        let unneeded = (!self.url.tls).then(|| "/dev/null".to_owned());
        self.ca_file.as_ref().map(|file| file.display().to_string()).or(unneeded)
    }
}

/// A number above 0.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Weight(f64);

impl TryFrom<f64> for Weight {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        if value.is_finite() && value > 0.0 { Ok(Weight(value)) } else { Err("a weight is a number above 0") }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Auto,
    Http1,
    Http2,
}

/// A backend's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendUrl {
    pub tls: bool,
    /// As in a URL: an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Stands before every path; without a slash at its end, and without the `/v1` that routes bring.
    pub prefix: String,
    /// What the `host` header says.
    pub authority: String,
}

impl std::str::FromStr for BackendUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("expected a URL that begins with `http://` or `https://`"),
        };
        let authority = uri.authority().ok_or("the URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL must not hold a user name or password; see `api_key_env`");
        }
        if uri.query().is_some() {
            return Err("the URL must not have a query");
        }
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/').to_owned();
        Ok(BackendUrl {
            tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            prefix,
            authority: authority.as_str().to_owned(),
        })
    }
}

impl<'de> Deserialize<'de> for BackendUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
