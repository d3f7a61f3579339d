//! What came of reading the settings again: for the log, the admin port and whoever listens to events.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::keys::Refused;

#[derive(Clone, Debug)]
pub enum Outcome {
    /// Everything that has changed holds now.
    Applied(Vec<String>),
    /// Some of it keeps its old value.
    Partly {
        changed: Vec<String>,
        refused: Vec<Refused>,
    },
    Unchanged,
    /// Nothing has changed, and this is why.
    Invalid(String),
}

impl Outcome {
    pub fn of(changed: Vec<String>, refused: Vec<Refused>) -> Self {
        match refused.is_empty() {
            // Written in other words, it means the same.
            true if changed.is_empty() => Outcome::Unchanged,
            true => Outcome::Applied(changed),
            false => Outcome::Partly { changed, refused },
        }
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::Applied(_) => "applied",
            Outcome::Partly { .. } => "partly",
            Outcome::Unchanged => "unchanged",
            Outcome::Invalid(_) => "invalid",
        }
    }
}

/// What came of it, when, and who wanted it.
#[derive(Clone, Debug)]
pub struct Told {
    pub outcome: Outcome,
    by: &'static str,
    at: SystemTime,
}

impl Told {
    pub fn now(by: &'static str, outcome: Outcome) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a date for people to read")]
        let at = SystemTime::now();
        Told { outcome, by, at }
    }

    pub const fn is_invalid(&self) -> bool {
        matches!(self.outcome, Outcome::Invalid(_))
    }

    pub fn json(&self) -> Value {
        let at = humantime::format_rfc3339_millis(self.at).to_string();
        let mut told = json!({ "outcome": self.outcome.name(), "at": at, "by": self.by });
        match &self.outcome {
            Outcome::Applied(changed) => told["changed"] = json!(changed),
            Outcome::Partly { changed, refused } => {
                told["changed"] = json!(changed);
                let refused = refused.iter().map(|refused| json!({ "key": refused.key, "why": refused.why }));
                told["refused"] = refused.collect();
            }
            Outcome::Unchanged => {}
            Outcome::Invalid(error) => told["error"] = json!(error),
        }
        told
    }

    pub fn log(&self) {
        let by = self.by;
        match &self.outcome {
            Outcome::Applied(changed) => tracing::info!(by, changed = changed.join(", "), "the settings are reloaded"),
            Outcome::Partly { changed, refused } => {
                let words: Vec<_> = refused.iter().map(|Refused { key, why, .. }| format!("{key}: {why}")).collect();
                tracing::warn!(
                    by,
                    changed = changed.join(", "),
                    refused = words.join("; "),
                    "the settings are reloaded, but for what cannot change while running"
                );
            }
            Outcome::Unchanged => tracing::info!(by, "the settings are unchanged"),
            Outcome::Invalid(error) => tracing::error!(by, error, "the settings are not reloaded: nothing has changed"),
        }
    }
}
