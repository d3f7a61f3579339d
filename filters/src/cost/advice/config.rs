//! The settings of advice.

use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer};

use crate::models::Models;
use crate::money::Money;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether it is looked for where money could be saved.
    pub enabled: bool,
    /// The time that is looked at: older calls are forgotten.
    pub window_secs: NonZeroU64,
    /// What would save less than this over the window is not told.
    #[serde(rename = "min_saving_usd", deserialize_with = "dollars")]
    pub min_saving: Money,
    /// Which model may do for which: the first table that names a model counts. Models that no table names are
    /// compared with the smaller one of their family, if its price is known.
    pub cheaper_models: Vec<CheaperModel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheaperModel {
    /// Names of models, or beginnings of them before a `*`.
    pub instead_of: Vec<Models>,
    /// The model that may do for them.
    #[serde(rename = "use")]
    pub model: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            window_secs: NonZeroU64::MIN.saturating_add(86_400 - 1),
            min_saving: Money::from_nanos(10_000_000),
            cheaper_models: Vec::new(),
        }
    }
}

impl Config {
    /// What no single key can say: the key, below `cost.advice`, and what is wrong.
    pub fn contradiction(&self) -> Option<(String, String)> {
        let tables = self.cheaper_models.iter().enumerate();
        for (at, CheaperModel { instead_of, model }) in tables {
            if instead_of.is_empty() {
                return Some((format!("cheaper_models.{at}.instead_of"), "it names no model".to_owned()));
            }
            if model.is_empty() {
                return Some((format!("cheaper_models.{at}.use"), "it names no model".to_owned()));
            }
        }
        None
    }
}

fn dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    let amount = f64::deserialize(deserializer)?;
    Money::from_usd(amount).ok_or_else(|| serde::de::Error::custom("an amount in dollars is 0 or more"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(settings: Value) -> Result<Config, serde_json::Error> {
        serde_json::from_value(settings)
    }

    #[test]
    fn nothing_set_is_the_default() {
        let config = read(json!({})).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!((config.window_secs.get(), config.min_saving.usd()), (86_400, 0.01));
    }

    #[test]
    fn what_is_set_is_read() {
        let table = json!({ "instead_of": ["big-*"], "use": "small" });
        let config = read(json!({ "min_saving_usd": 0.5, "window_secs": 60, "cheaper_models": [table] })).unwrap();
        assert_eq!((config.min_saving.usd(), config.cheaper_models[0].model.as_str()), (0.5, "small"));
        assert_eq!(config.contradiction(), None);
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        for (settings, words) in [
            (json!({ "window_secs": 0 }), "nonzero"),
            (json!({ "min_saving_usd": -1 }), "an amount in dollars is 0 or more"),
            (json!({ "windows_secs": 1 }), "unknown field `windows_secs`"),
            (json!({ "cheaper_models": [{ "instead_of": ["a"] }] }), "missing field `use`"),
        ] {
            let error = read(settings.clone()).unwrap_err().to_string();
            assert!(error.contains(words), "{settings}: {error}");
        }
        for (table, key) in [
            (json!({ "instead_of": [], "use": "small" }), "cheaper_models.0.instead_of"),
            (json!({ "instead_of": ["a"], "use": "" }), "cheaper_models.0.use"),
        ] {
            let wrong = read(json!({ "cheaper_models": [table] })).unwrap().contradiction();
            assert_eq!(wrong.map(|(key, _)| key).as_deref(), Some(key));
        }
    }
}
