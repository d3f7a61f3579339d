//! The settings of the room: when a backend is left alone, for how long, and who stands in for it.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admission;
use crate::Deadlines;
use crate::models::Models;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Faults in a row that open a breaker.
    pub consecutive_failures: NonZeroU32,
    /// The share of calls that must succeed; fewer than this, beyond chance, and the breaker opens.
    pub success_ratio: Ratio,
    /// Calls in the window without which their ratio says nothing.
    pub min_requests: NonZeroU32,
    /// The window of the ratio and of slow first tokens.
    pub window_secs: NonZeroU64,
    /// A first token later than this is slow.
    pub slow_ttft_ms: NonZeroU64,
    /// The share of slow first tokens at which the breaker opens.
    pub slow_ratio: Ratio,
    /// How long a breaker stays open at first; it doubles each time up to `max_open_ms`, and up to half of it more by chance.
    pub open_ms: NonZeroU64,
    pub max_open_ms: NonZeroU64,
    /// Calls that an open breaker lets through when its time is over; all must succeed.
    pub probes: NonZeroU32,
    /// After this a probe that has not answered makes room for another, and one that streams has succeeded.
    pub probe_ms: NonZeroU64,
    /// A backend's Retry-After is obeyed up to this.
    pub max_retry_after_ms: NonZeroU64,
    /// Of a pool at most this share, and always one, is left alone for a bad ratio or for slowness.
    pub max_ejected_ratio: Ratio,
    /// From the call until the first token of a streamed answer.
    pub ttft_timeout_ms: NonZeroU64,
    /// Between two pieces of an answer.
    pub token_gap_timeout_ms: NonZeroU64,
    /// From the call until the end of an answer that is not streamed.
    pub whole_timeout_ms: NonZeroU64,
    /// From the call until the end of a streamed answer.
    pub stream_timeout_ms: NonZeroU64,
    /// Times that a call is repeated, before the first byte of its answer has gone out.
    pub retries: u32,
    /// Of all calls at most this share is repeated …
    pub retry_share: Ratio,
    /// … but always so many in a second.
    pub min_retries_per_sec: u32,
    /// The wait before the first repetition on the same backend; it doubles each time, a quarter more or less by chance.
    pub retry_backoff_ms: NonZeroU64,
    /// The longest wait before a repetition; a backend that wants a longer one is not asked again.
    pub max_retry_wait_ms: u64,
    /// Asks a second backend when a first token takes longer than the model's slowest twentieth; paid for as a repetition.
    pub hedge: bool,
    /// Which of several backends is asked.
    pub balance: Balance,
    /// How often `health_path` is asked for where a backend has one.
    pub health_interval_ms: NonZeroU64,
    /// Failed checks in a row after which a backend is left alone.
    pub unhealthy_after: NonZeroU32,
    /// Good checks in a row after which it is asked again.
    pub healthy_after: NonZeroU32,
    /// Whether backends are asked for the metrics of their engine (vLLM, SGLang, llama.cpp).
    pub engine_metrics: EngineMetrics,
    pub engine_interval_ms: NonZeroU64,
    /// How many requests a backend is given at once.
    pub admission: admission::Config,
    /// Settings for some models: the first table that names a model is its.
    pub models: Vec<ForModels>,
    /// Models that stand in for others, in order.
    pub fallbacks: Vec<Fallback>,
}

const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

const fn span(number: u64) -> NonZeroU64 {
    match NonZeroU64::new(number) {
        Some(number) => number,
        None => NonZeroU64::MIN,
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            consecutive_failures: count(5),
            success_ratio: Ratio(0.8),
            min_requests: count(10),
            window_secs: span(10),
            slow_ttft_ms: span(30_000),
            slow_ratio: Ratio(0.8),
            open_ms: span(1_000),
            max_open_ms: span(60_000),
            probes: count(1),
            probe_ms: span(10_000),
            max_retry_after_ms: span(60_000),
            max_ejected_ratio: Ratio(0.5),
            ttft_timeout_ms: span(60_000),
            token_gap_timeout_ms: span(30_000),
            whole_timeout_ms: span(600_000),
            stream_timeout_ms: span(3_600_000),
            retries: 2,
            retry_share: Ratio(0.2),
            min_retries_per_sec: 3,
            retry_backoff_ms: span(100),
            max_retry_wait_ms: 2_000,
            hedge: false,
            balance: Balance::default(),
            health_interval_ms: span(5_000),
            unhealthy_after: count(3),
            healthy_after: count(1),
            engine_metrics: EngineMetrics::default(),
            engine_interval_ms: span(2_000),
            admission: admission::Config::default(),
            models: Vec::new(),
            fallbacks: Vec::new(),
        }
    }
}

/// A share of a whole: from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

impl Ratio {
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&value) { Ok(Ratio(value)) } else { Err("a ratio is a number from 0 to 1") }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> f64 {
        ratio.0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Of two at random the one with less in flight, weighed by its time to the first token.
    #[default]
    LeastInFlight,
    /// In turn, by weight.
    RoundRobin,
    /// The one that has seen the beginning of the prompt before, unless it has more than its share to do.
    Prefix,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineMetrics {
    /// `/metrics` of backends in clear text; one that has none is asked again after five minutes.
    #[default]
    Auto,
    Off,
}

/// What some models have otherwise. What is not set is as above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForModels {
    /// Names of models, names that end in `*`, or `*` for all.
    pub models: Vec<Models>,
    #[serde(default)]
    pub ttft_timeout_ms: Option<NonZeroU64>,
    #[serde(default)]
    pub token_gap_timeout_ms: Option<NonZeroU64>,
    #[serde(default)]
    pub whole_timeout_ms: Option<NonZeroU64>,
    #[serde(default)]
    pub stream_timeout_ms: Option<NonZeroU64>,
    #[serde(default)]
    pub slow_ttft_ms: Option<NonZeroU64>,
    #[serde(default)]
    pub retries: Option<u32>,
    #[serde(default)]
    pub hedge: Option<bool>,
    #[serde(default)]
    pub balance: Option<Balance>,
}

/// Models that answer where no backend of another one can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The model that is asked for, by its name.
    pub model: String,
    /// The models that are tried instead, in this order.
    pub to: Vec<String>,
}

/// A backend, as far as the room is concerned.
#[derive(Clone, Debug)]
pub struct Backend {
    pub name: String,
    /// Where it is: what is known of it holds for as long as it is there.
    pub address: String,
    pub models: Vec<Models>,
    /// Names that clients use, and what this backend calls the same.
    pub aliases: Vec<(String, String)>,
    pub weight: f64,
    /// Backends of a higher tier are asked only when none of a lower one can answer.
    pub tier: u32,
    /// Whether it is asked with a key of its own, and not with the client's.
    pub own_key: bool,
    pub health_path: Option<String>,
    pub metrics: bool,
    /// Tokens that its cache of keys and values holds, where the settings say so.
    pub kv_tokens: Option<u64>,
}

impl Backend {
    /// One that serves all models, with nothing else said of it.
    pub fn named(name: &str) -> Self {
        Backend {
            name: name.to_owned(),
            address: String::new(),
            models: Models::all(),
            aliases: Vec::new(),
            weight: 1.0,
            tier: 0,
            own_key: false,
            health_path: None,
            metrics: false,
            kv_tokens: None,
        }
    }
}

/// What holds for the requests of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub deadlines: Deadlines,
    pub slow_ttft: Duration,
    pub retries: u32,
    pub hedge: bool,
    pub balance: Balance,
}

impl Config {
    pub fn terms(&self, model: &str) -> Terms {
        let named = |table: &&ForModels| table.models.iter().any(|models| models.matches(model));
        let own = self.models.iter().find(named);
        let pick = |of: fn(&ForModels) -> Option<NonZeroU64>, usual: NonZeroU64| {
            Duration::from_millis(own.and_then(of).unwrap_or(usual).get())
        };
        Terms {
            deadlines: Deadlines {
                first_token: pick(|own| own.ttft_timeout_ms, self.ttft_timeout_ms),
                token_gap: pick(|own| own.token_gap_timeout_ms, self.token_gap_timeout_ms),
                whole: pick(|own| own.whole_timeout_ms, self.whole_timeout_ms),
                stream: pick(|own| own.stream_timeout_ms, self.stream_timeout_ms),
            },
            slow_ttft: pick(|own| own.slow_ttft_ms, self.slow_ttft_ms),
            retries: own.and_then(|own| own.retries).unwrap_or(self.retries),
            hedge: own.and_then(|own| own.hedge).unwrap_or(self.hedge),
            balance: own.and_then(|own| own.balance).unwrap_or(self.balance),
        }
    }

    /// What no single key can say: the first thing wrong between keys, by its path below `breaker`.
    pub fn contradiction(&self) -> Option<(String, String)> {
        if self.max_open_ms < self.open_ms {
            return Some(("max_open_ms".to_owned(), "must not be less than open_ms".to_owned()));
        }
        for (place, fallback) in self.fallbacks.iter().enumerate() {
            if fallback.to.is_empty() {
                return Some((format!("fallbacks.{place}.to"), "names no model".to_owned()));
            }
            if fallback.to.contains(&fallback.model) {
                return Some((format!("fallbacks.{place}.to"), "a model cannot stand in for itself".to_owned()));
            }
        }
        let unnamed = self.models.iter().position(|table| table.models.is_empty())?;
        Some((format!("models.{unnamed}.models"), "names no model".to_owned()))
    }
}
