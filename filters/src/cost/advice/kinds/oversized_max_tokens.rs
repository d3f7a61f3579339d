//! Bounds on answers that are far above what answers use: no money is lost by them, but budgets and limits hold it back.

use serde_json::json;

use super::super::Seeing;
use super::super::books::Pair;
use super::super::finding::{Confidence, Finding, Kind};
use crate::money::Money;
use crate::usage::Tokens;

/// Fewer answers say nothing of the hundredth.
const FEW: u64 = 100;
/// Where 99 of 100 answers use less than this share of their bound, it is too high.
const LITTLE: f64 = 0.25;

pub fn find(seeing: &Seeing<'_>, pair: &Pair) -> Option<Finding> {
    let bounded = &pair.bounded;
    let share = bounded.shares.quantile(0.99);
    if bounded.calls < FEW || share > LITTLE {
        return None;
    }
    let unused = bounded.asked_tokens.saturating_sub(bounded.used_tokens);
    let each = Tokens { output: unused / bounded.calls, ..Tokens::default() };
    let held = (seeing.reprice)(&pair.model, &each);
    let held = held.map(|each| Money::from_nanos(each.nanos().saturating_mul(bounded.calls)));
    let enough = bounded.used.quantile(0.99).saturating_mul(2);
    Some(Finding {
        kind: Kind::OversizedMaxTokens,
        title: format!("{} calls of {} set a max_tokens far above what they use", bounded.calls, pair.model),
        tenant: Some(pair.tenant),
        model: pair.model.to_string(),
        evidence: json!({
            "calls": bounded.calls,
            "max_tokens_median": bounded.asked.quantile(0.5),
            "used_tokens_median": bounded.used.quantile(0.5),
            "used_tokens_p99": bounded.used.quantile(0.99),
            "used_share_p99": share,
            "held_back_tokens": unused,
            "held_back_usd": held.map(Money::usd),
        }),
        saving: Money::ZERO,
        confidence: Confidence::Measured,
        what_to_do: format!(
            "Set max_tokens to about {enough}, twice what 99 of 100 answers use: until an answer ends, budgets and \
             limits on tokens hold back as much as it may use."
        ),
    })
}
