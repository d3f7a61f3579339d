//! A limit as it is written down: what is counted, how much, over what time, and for whom.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Deserializer};

use super::{guard, rule};
use crate::refusal::Counts;
use crate::tenants::Names;

/// What a limit and a cost may be at most: Redis's scripts count in floating point.
pub const MOST: u64 = 100_000_000_000_000;

/// The `[rate_limit]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Every request must fit all of them, or is refused and counts for none.
    pub limits: Vec<Limit>,
    /// A cheap check before a request's body is read, against floods.
    pub guard: guard::Config,
    /// Who is told apart at most, over all limits: accounts kept in this process. Beyond it, newcomers of one
    /// limit share one account.
    pub max_keys: NonZeroUsize,
    /// How long what a sidecar has reserved outlives the sidecar. While it lives, it renews.
    pub reservation_secs: NonZeroU64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Vec::new(),
            guard: guard::Config::default(),
            max_keys: const { NonZeroUsize::new(200_000).unwrap() },
            reservation_secs: const { NonZeroU64::new(60).unwrap() },
        }
    }
}

/// One limit, one `[[rate_limit.limits]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How it is called in headers, errors and metrics: letters, digits, `-` and `_`.
    pub name: Name,
    /// What is counted.
    #[serde(default)]
    pub unit: Unit,
    /// How much of it may be in any window, or at once if the unit is `concurrent`.
    pub amount: u64,
    /// `second`, `minute`, `hour`, `day`, or a duration such as `90s` or `1h 30m`. A concurrent limit has none.
    #[serde(default)]
    pub window: Option<Window>,
    /// Whose requests are counted together.
    #[serde(default)]
    pub scope: Scope,
    /// What holds while the store that sidecars share cannot be asked.
    #[serde(default)]
    pub when_redis_lost: WhenLost,
    /// Other amounts, by the names of `[tenants.names]`: a number, or `unlimited`.
    #[serde(default)]
    pub overrides: BTreeMap<String, Amount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Name(text.into()));
        }
        Err(serde::de::Error::custom("a limit's name is 1 to 64 letters, digits, `-` and `_`"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    #[default]
    Requests,
    /// Of the prompt and of the answer.
    Tokens,
    InputTokens,
    OutputTokens,
    /// Requests in flight.
    Concurrent,
}

impl Unit {
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
            Unit::InputTokens => "input_tokens",
            Unit::OutputTokens => "output_tokens",
            Unit::Concurrent => "concurrent",
        }
    }

    /// Under which of OpenAI's two headings it is told.
    pub const fn counts(self) -> Counts {
        match self {
            Unit::Requests | Unit::Concurrent => Counts::Requests,
            Unit::Tokens | Unit::InputTokens | Unit::OutputTokens => Counts::Tokens,
        }
    }
}

/// A span of at least ten milliseconds and at most 400 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub Duration);

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const SHORTEST: Duration = Duration::from_millis(10);
        const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);
        let text = String::deserialize(deserializer)?;
        let span = match text.as_str() {
            "second" => Ok(Duration::from_secs(1)),
            "minute" => Ok(Duration::from_secs(60)),
            "hour" => Ok(Duration::from_secs(3600)),
            "day" => Ok(Duration::from_secs(24 * 3600)),
            other => humantime::parse_duration(other),
        };
        match span {
            Ok(span) if (SHORTEST..=LONGEST).contains(&span) => Ok(Window(span)),
            Ok(_) => Err(serde::de::Error::custom("a window is at least 10ms and at most 400 days")),
            Err(error) => Err(serde::de::Error::custom(format!(
                "{error}; a window is `second`, `minute`, `hour`, `day`, or a duration such as `90s` or `1h 30m`"
            ))),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    Tenant,
    /// All tenants together, for each model.
    Model,
    TenantModel,
    /// Each end user of a tenant, as the request's body names them (`user`).
    User,
    /// Each value of a header, within a tenant.
    Header(HeaderName),
    Everyone,
}

impl Scope {
    /// Whether tenants are counted together.
    pub const fn spans_tenants(&self) -> bool {
        matches!(self, Scope::Model | Scope::Everyone)
    }

    pub fn name(&self) -> String {
        match self {
            Scope::Tenant => "tenant".to_owned(),
            Scope::Model => "model".to_owned(),
            Scope::TenantModel => "tenant_model".to_owned(),
            Scope::User => "user".to_owned(),
            Scope::Header(name) => format!("header:{name}"),
            Scope::Everyone => "everyone".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.strip_prefix("header:").map(str::trim)) {
            ("tenant", _) => Ok(Scope::Tenant),
            ("model", _) => Ok(Scope::Model),
            ("tenant_model", _) => Ok(Scope::TenantModel),
            ("user", _) => Ok(Scope::User),
            ("everyone", _) => Ok(Scope::Everyone),
            (_, Some(name)) => name
                .parse()
                .map(Scope::Header)
                .map_err(|_| serde::de::Error::custom(format!("`{name}` is not the name of a header"))),
            _ => Err(serde::de::Error::custom(
                "expected `tenant`, `model`, `tenant_model`, `user`, `everyone` or `header:<name>`",
            )),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenLost {
    /// Each sidecar holds its share of what is left, by the number of sidecars last seen.
    #[default]
    Local,
    /// The limit does not hold.
    Open,
    /// Everything under the limit is refused with 503.
    Closed,
}

/// The amount of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Of(u64),
    Unlimited,
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Word(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(amount)) => Ok(Amount::Of(amount)),
            Ok(Written::Word(word)) if word == "unlimited" => Ok(Amount::Unlimited),
            _ => Err(serde::de::Error::custom("expected a number or `unlimited`")),
        }
    }
}

impl Config {
    /// What no single key can say: the first thing wrong between keys, by its path below `rate_limit`.
    pub fn contradiction(&self) -> Option<(String, String)> {
        self.limits.iter().enumerate().find_map(|(at, limit)| {
            let wrong = |key: &str, words: String| Some((format!("limits.{at}.{key}"), words));
            if self.limits[..at].iter().any(|other| other.name == limit.name) {
                return wrong("name", format!("there are two limits with the name `{}`", limit.name.0));
            }
            match (limit.unit, limit.window) {
                (Unit::Concurrent, Some(_)) => {
                    return wrong("window", "a limit of concurrent requests has no window".to_owned());
                }
                (Unit::Concurrent, None) | (_, Some(_)) => {}
                (_, None) => return wrong("window", "say over what time the amount is counted".to_owned()),
            }
            if limit.amount == 0 {
                return wrong("amount", "a limit of 0 can never be met: no request would ever fit".to_owned());
            }
            if limit.amount >= MOST {
                return wrong("amount", format!("a limit is less than {MOST}"));
            }
            if limit.unit == Unit::Tokens && limit.amount < 2 {
                return wrong("amount", "one token can never hold a prompt and an answer".to_owned());
            }
            if limit.scope.spans_tenants() && !limit.overrides.is_empty() {
                let words = "an override for one tenant has no meaning where tenants are counted together";
                return wrong("overrides", words.to_owned());
            }
            None
        })
    }

    /// Limits that can never be reached, because another of the same kind is always reached before.
    pub fn pointless(&self) -> Vec<String> {
        let tighter = |limit: &Limit, other: &Limit| -> Option<bool> {
            let (window, shorter) = (limit.window?.0, other.window?.0);
            let same = limit.unit == other.unit && limit.scope == other.scope && shorter <= window;
            // A window of n shorter ones, begun anywhere, holds parts of n + 1.
            let reach = window.as_nanos().div_ceil(shorter.as_nanos()) * u128::from(other.amount);
            Some(same && limit.name != other.name && reach < u128::from(limit.amount))
        };
        let words = |limit: &Limit| {
            let other = self.limits.iter().find(|other| tighter(limit, other) == Some(true))?;
            Some(format!(
                "the limit `{}` can never be reached: `{}` is always reached before it",
                limit.name.0, other.name.0
            ))
        };
        self.limits.iter().filter_map(words).collect()
    }

    /// # Errors
    /// The path of a key below `rate_limit`, and what is wrong there.
    pub fn check_names(&self, names: &Names) -> Result<(), (String, String)> {
        rule::rules(self, names, None).map(drop)
    }

    /// Whether any limit counts tenants together: then all accounts of all limits lie together in the store.
    pub fn spans_tenants(&self) -> bool {
        self.limits.iter().any(|limit| limit.scope.spans_tenants())
    }

    /// The headers that limits are told apart by.
    pub fn headers(&self) -> Vec<HeaderName> {
        let header = |limit: &Limit| match &limit.scope {
            Scope::Header(name) => Some(name.clone()),
            _ => None,
        };
        self.limits.iter().filter_map(header).collect()
    }
}
