//! Where a scenario's requests go.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::number;

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
    #[serde(default = "timeout", deserialize_with = "number::positive")]
    pub timeout_secs: f64,
}

/// The simulated model server behind the target: `outrigger-sim`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Simulator {
    /// `http://host:port`.
    pub url: String,
}

impl Simulator {
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        crate::wire::target::address(&self.url)
    }
}

fn model() -> String {
    "sim".to_owned()
}

const fn timeout() -> f64 {
    60.0
}
