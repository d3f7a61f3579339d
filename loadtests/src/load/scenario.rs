//! A scenario: what is sent where, when, with which faults, and the levels of service it is held to.
//!
//! Every key stands in `loadtests/SCENARIOS.md`.

mod kinds;
pub mod load;
pub mod number;
mod overrides;
mod planning;
mod read;
mod request;
mod table;
mod target;
mod written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use load::Load;
pub use overrides::Overrides;
pub use planning::Stage;
pub use read::ScenarioError;
pub use request::{Kind, Route};
pub use target::{Simulator, Target};

use super::arrival::Profile;
use super::fault::{Line, ScriptedFault};
use super::level::Level;

/// One TOML file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// Of every random draw: the same scenario sends the same at the same times.
    #[serde(default)]
    pub seed: u64,
    /// Before anything is measured, with the load of its first moments. Of a trace it is the first part.
    #[serde(default, deserialize_with = "number::amount")]
    pub warmup_secs: f64,
    /// Of the timeline; where left out 1, and 60 for an endurance run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_secs: Option<number::Positive>,
    /// What every run must hold: `p95_ttft_ms <= 500`.
    #[serde(default)]
    pub levels: Vec<Level>,
    /// Faults in words: `at 10s: simulator stalls for 5s`.
    #[serde(default)]
    pub script: Vec<Line>,
    pub target: Target,
    /// The model server that faults are played on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulator: Option<Simulator>,
    pub load: Load,
    /// A mix; each arrival draws one by weight.
    pub requests: Vec<Kind>,
    /// Faults in the simulator's own words, beside those of the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ScriptedFault>,
}

impl Scenario {
    /// How long a slice of the timeline is.
    pub fn slice(&self) -> Duration {
        match (self.slice_secs, self.load.profile()) {
            (Some(seconds), _) => seconds.seconds(),
            (None, Some(Profile::Endurance(_))) => Duration::from_secs(60),
            (None, _) => Duration::from_secs(1),
        }
    }

    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_secs)
    }
}

#[cfg(test)]
mod tests;
