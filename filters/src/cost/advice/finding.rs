//! One piece of advice.

use serde::Serialize;
use serde_json::Value;

use crate::Tenant;
use crate::money::Money;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    CostlyRetries,
    RepeatedPrompts,
    UncachedPrefix,
    CheaperModel,
    OversizedMaxTokens,
}

/// What the saving is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Sums of what was paid: at least so much.
    Measured,
    /// From some of the calls, which stand for all.
    Sampled,
    /// What would have been, if another had answered as well.
    Estimated,
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub title: String,
    /// None where it speaks of all tenants.
    pub tenant: Option<Tenant>,
    pub model: String,
    pub evidence: Value,
    /// Over the window.
    pub saving: Money,
    pub confidence: Confidence,
    pub what_to_do: String,
}
