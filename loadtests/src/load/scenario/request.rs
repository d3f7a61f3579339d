//! What a scenario sends.

use serde::{Deserialize, Serialize};

use super::number;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    #[serde(default = "one", deserialize_with = "number::amount")]
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

impl Kind {
    /// What its keys say against each other, with the key to blame.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String)> {
        if self.body_bytes.is_some() && self.input_tokens.is_some() {
            return Some(("body_bytes", "stands beside `input_tokens`; give one of them".to_owned()));
        }
        if !(100..=599).contains(&self.expect_status) {
            return Some(("expect_status", format!("{} is no HTTP status", self.expect_status)));
        }
        if self.stream && matches!(self.route, Route::Embeddings | Route::Malformed) {
            return Some(("stream", "only `chat` and `completions` can be streamed".to_owned()));
        }
        if self.output_tokens == Some(0) {
            return Some(("output_tokens", "a request for 0 tokens is refused by every server".to_owned()));
        }
        let controls = serde_json::from_value::<crate::sim::Controls>(self.sim.clone()?);
        controls.err().map(|error| ("sim", error.to_string()))
    }
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
