//! Equal questions that were paid again.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;

use super::super::Seeing;
use super::super::books::{Prompt, merged};
use super::super::finding::{Confidence, Finding, Kind};
use super::super::manner::Why;
use crate::Tenant;
use crate::money::Money;

const TOP: usize = 5;

/// The repeated prompts of one tenant and model, for one reason.
#[derive(Default)]
struct Repeats {
    prompts: u64,
    times: Vec<u64>,
    cost: Money,
    saving: Money,
    gaps: Duration,
}

impl Repeats {
    fn add(&mut self, prompt: &Prompt) {
        self.prompts += 1;
        self.times.push(prompt.times);
        self.cost += prompt.cost;
        self.saving += prompt.cost.saturating_sub(prompt.first);
        self.gaps += prompt.ended.saturating_duration_since(prompt.begun);
    }
}

pub fn find(seeing: &Seeing<'_>) -> Vec<Finding> {
    let mut groups: HashMap<(Tenant, String, Why), Repeats> = HashMap::new();
    let prompts = merged(seeing.books.iter().map(|half| &half.prompts));
    for prompt in prompts.values().filter(|prompt| prompt.times > 1) {
        let key = (prompt.tenant, prompt.model.to_string(), prompt.manner.why(seeing.cache));
        groups.entry(key).or_default().add(prompt);
    }
    groups.into_iter().map(|((tenant, model, why), repeats)| finding(tenant, model, why, repeats)).collect()
}

fn finding(tenant: Tenant, model: String, why: Why, mut repeats: Repeats) -> Finding {
    repeats.times.sort_unstable_by(|left, right| right.cmp(left));
    let calls: u64 = repeats.times.iter().sum();
    let again = calls - repeats.prompts;
    Finding {
        kind: Kind::RepeatedPrompts,
        title: format!("{again} calls of {model} asked again what had been answered: {}", why.words()),
        tenant: Some(tenant),
        model,
        evidence: json!({
            "prompts": repeats.prompts,
            "calls": calls,
            "calls_but_the_first": again,
            "top_counts": repeats.times.iter().take(TOP).collect::<Vec<_>>(),
            "cost_usd": repeats.cost.usd(),
            "mean_gap_secs": repeats.gaps.as_secs_f64() / again.max(1) as f64,
            "why_not_from_the_cache": why.words(),
        }),
        saving: repeats.saving,
        confidence: Confidence::Measured,
        what_to_do: why.what_to_do().to_owned(),
    }
}
