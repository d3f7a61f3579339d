//! Calls that were paid, and whose answers nobody was given.

use serde_json::json;

use super::super::Seeing;
use super::super::books::{Wasted, merged};
use super::super::finding::{Confidence, Finding, Kind};

pub fn find(seeing: &Seeing<'_>) -> Vec<Finding> {
    let all = merged(seeing.books.iter().map(|half| &half.wasted));
    all.values().filter(|wasted| wasted.wasted > 0).map(finding).collect()
}

fn finding(wasted: &Wasted) -> Finding {
    let Wasted { backend, model, .. } = wasted;
    Finding {
        kind: Kind::CostlyRetries,
        title: format!("{} calls of {model} on {backend} were paid, and their answers given to nobody", wasted.wasted),
        tenant: None,
        model: model.to_string(),
        evidence: json!({
            "backend": &**backend,
            "wasted_calls": wasted.wasted,
            "wasted_tokens": wasted.tokens,
            "wasted_usd": wasted.cost.usd(),
            "repeated_calls": wasted.repeated,
        }),
        saving: wasted.cost,
        confidence: Confidence::Measured,
        what_to_do: "Look at why this backend's calls fail or come late: a timeout that is too short, a backend that \
                     breaks off its answers, or hedging that asks twice too often (the breaker's settings \
                     ttft_timeout_ms, whole_timeout_ms, retries and hedge)."
            .to_owned(),
    }
}
