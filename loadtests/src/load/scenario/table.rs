//! `[load]` as it stands in the file: every key that there is. Which go together is told when it becomes a `Load`:
//! each kind of load takes its keys out, and one that is left over is refused.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::number::{Amount, Positive};
use crate::load::arrival::course::Curve;
use crate::load::trace::Format;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelName {
    #[default]
    Closed,
    Constant,
    Poisson,
    Gamma,
    Weibull,
    Trace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileName {
    #[default]
    Steady,
    Ramp,
    Spike,
    Stress,
    Endurance,
    Peak,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub model: ModelName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_secs: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_secs: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burstiness: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_secs: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_secs: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_secs: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_secs: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_secs: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_secs: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_secs: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroUsize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<NonZeroU32>,
}

impl Table {
    /// Takes the key that this kind of load cannot do without.
    pub fn need<T>(&mut self, key: &str, take: impl FnOnce(&mut Table) -> Option<T>) -> Result<T, String> {
        take(self).ok_or_else(|| format!("`{key}` is missing, which {} needs", self.kind()))
    }

    /// What the load is called in an error.
    pub fn kind(&self) -> String {
        let model = name(&self.model);
        match (self.model, self.profile) {
            (ModelName::Trace, _) => "the model `trace`".to_owned(),
            (_, profile) => format!("the model `{model}` with the profile `{}`", name(&profile.unwrap_or_default())),
        }
    }

    /// Refuses what nothing has taken.
    pub fn nothing_left(&self) -> Result<(), String> {
        let left = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let known = ["model", "profile"];
        let left = left.as_object().into_iter().flat_map(|keys| keys.keys()).find(|key| !known.contains(&key.as_str()));
        match left {
            Some(key) => Err(format!("`{key}` has no meaning for {}", self.kind())),
            None => Ok(()),
        }
    }
}

/// As it is written in the file.
fn name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
