//! Long equal beginnings that a backend reads anew each time.

use std::collections::HashMap;

use serde_json::json;

use super::super::beginnings::{Alike, LEAST_TOKENS};
use super::super::books::merged;
use super::super::finding::{Confidence, Finding, Kind};
use super::super::{Reprice, Seeing};
use crate::Tenant;
use crate::money::Money;
use crate::usage::Tokens;

const TOP: usize = 5;

/// The beginnings of one tenant and model.
#[derive(Default)]
struct Group {
    beginnings: u64,
    calls: f64,
    cold: f64,
    cold_tokens: f64,
    lengths: Vec<u64>,
    saving: Money,
}

pub fn find(seeing: &Seeing<'_>) -> Vec<Finding> {
    let Some(sample) = &seeing.sample else { return Vec::new() };
    // What was dropped unread is taken to be like what was read.
    let scale = (sample.read + sample.dropped) as f64 / sample.read.max(1) as f64;
    let mut groups: HashMap<(Tenant, String), Group> = HashMap::new();
    for alike in merged(&sample.halves).values() {
        let Some(saving) = saving(seeing.reprice, alike, scale) else { continue };
        let group = groups.entry((alike.tenant, alike.model.to_string())).or_default();
        group.beginnings += 1;
        group.calls += alike.calls * scale;
        group.cold += alike.cold * scale;
        group.cold_tokens += alike.cold_tokens * scale;
        group.lengths.push(alike.tokens);
        group.saving += saving;
    }
    groups.into_iter().map(|((tenant, model), group)| finding(tenant, model, group)).collect()
}

/// What the calls would have saved, less what it takes to put the beginning where they would have found it.
fn saving(reprice: Reprice<'_>, alike: &Alike, scale: f64) -> Option<Money> {
    if alike.tokens < LEAST_TOKENS || alike.cold <= 0.0 {
        return None;
    }
    let price = |tokens: Tokens| reprice(&alike.model, &tokens);
    let cold = (alike.cold_tokens / alike.cold).round() as u64;
    let read = Tokens { input: cold, ..Tokens::default() };
    let each = price(read)?.saturating_sub(price(Tokens { cached_input: cold, ..read })?);
    let whole = Tokens { input: alike.tokens, ..Tokens::default() };
    let put = price(Tokens { cache_writes: alike.tokens, ..whole })?.saturating_sub(price(whole)?);
    let times = |amount: Money, calls: f64| Money::from_nanos((amount.nanos() as f64 * calls * scale).round() as u64);
    let saving = times(each, alike.cold).saturating_sub(times(put, alike.openings));
    (saving > Money::ZERO).then_some(saving)
}

fn finding(tenant: Tenant, model: String, mut group: Group) -> Finding {
    group.lengths.sort_unstable_by(|left, right| right.cmp(left));
    Finding {
        kind: Kind::UncachedPrefix,
        title: format!("{model} reads the same beginnings anew in about {:.0} calls", group.cold),
        tenant: Some(tenant),
        model,
        evidence: json!({
            "beginnings": group.beginnings,
            "calls": group.calls.round(),
            "calls_that_read_it_anew": group.cold.round(),
            "tokens_read_anew": group.cold_tokens.round(),
            "longest_tokens": group.lengths.iter().take(TOP).collect::<Vec<_>>(),
        }),
        saving: group.saving,
        confidence: Confidence::Sampled,
        what_to_do: "Let the backend keep system prompts and tools: what changes (dates, names, search results) \
                     belongs behind what does not; Anthropic's API wants cache_control at the end of the \
                     beginning, OpenAI's takes a prompt_cache_key, and vLLM and SGLang keep prefixes themselves \
                     unless that is turned off. Or shorten what the answers do not need."
            .to_owned(),
    }
}
