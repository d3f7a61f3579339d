//! A scenario: what is sent where, when, with which faults, and the levels of service it is held to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One TOML file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// Of every random draw: the same scenario sends the same at the same times.
    #[serde(default)]
    pub seed: u64,
    pub target: Target,
    /// A mix; each arrival draws one by weight.
    pub requests: Vec<Kind>,
    /// Before anything is measured, with the load of its first moments.
    #[serde(default)]
    pub warmup_secs: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `http://host:port` or `https://host`, with or without a path before `/v1`.
    pub url: String,
    #[serde(default = "model")]
    pub model: String,
    /// The environment variable that holds the key; the key itself never stands in a file.
    pub api_key_env: Option<String>,
    /// Authorities for https beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Its process on this machine, whose CPU, memory and files are measured.
    pub pid: Option<u32>,
    #[serde(default = "timeout")]
    pub timeout_secs: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    #[serde(default = "one")]
    pub weight: f64,
    #[serde(default)]
    pub route: Route,
    #[serde(default)]
    pub stream: bool,
    /// Bytes of the body, about; or instead:
    pub body_bytes: Option<usize>,
    pub input_tokens: Option<u32>,
    /// The request's `max_tokens`.
    pub output_tokens: Option<u32>,
    /// The simulator's own controls, as they stand in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sim: Option<serde_json::Value>,
    /// What counts as answered.
    #[serde(default = "ok")]
    pub expect_status: u16,
    /// Whether the body must differ from every other; otherwise all of a kind are equal.
    #[serde(default = "yes")]
    pub unique: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    #[default]
    Chat,
    Completions,
    Embeddings,
    /// A body that is no JSON.
    Malformed,
}

fn model() -> String {
    "sim".to_owned()
}

const fn timeout() -> f64 {
    60.0
}

const fn one() -> f64 {
    1.0
}

const fn ok() -> u16 {
    200
}

const fn yes() -> bool {
    true
}
