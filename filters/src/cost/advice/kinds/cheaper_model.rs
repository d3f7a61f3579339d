//! Short answers of a dear model that a cheaper one could perhaps give.

use serde_json::json;

use super::super::books::{Pair, Short};
use super::super::finding::{Confidence, Finding, Kind};
use super::super::{Reprice, Seeing};
use crate::money::Money;
use crate::usage::Tokens;

/// Fewer calls are no pattern.
const FEW: u64 = 20;

/// So many calls are priced together, so that nothing is lost to rounding, and yet no price for long inputs counts.
const TOGETHER: u64 = 50;

/// Models, and the smaller ones of their families, the newest first. A date or version may follow the name.
const FAMILIES: [(&str, &[&str]); 18] = [
    ("gpt-5", &["gpt-5-mini"]),
    ("gpt-5-mini", &["gpt-5-nano"]),
    ("gpt-4.1", &["gpt-4.1-mini"]),
    ("gpt-4.1-mini", &["gpt-4.1-nano"]),
    ("gpt-4o", &["gpt-4o-mini"]),
    ("chatgpt-4o-latest", &["gpt-4o-mini"]),
    ("gpt-4-turbo", &["gpt-4.1-mini", "gpt-4o-mini"]),
    ("gpt-4", &["gpt-4.1-mini", "gpt-4o-mini"]),
    ("o1", &["o4-mini", "o3-mini"]),
    ("o3", &["o4-mini", "o3-mini"]),
    ("claude-opus-4", &["claude-haiku-4-5", "claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"]),
    ("claude-sonnet-4", &["claude-haiku-4-5", "claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"]),
    ("claude-3-7-sonnet", &["claude-haiku-4-5", "claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"]),
    ("claude-3-5-sonnet", &["claude-haiku-4-5", "claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"]),
    ("claude-3-opus", &["claude-haiku-4-5", "claude-3-5-haiku-latest", "claude-3-haiku-20240307"]),
    ("gemini-2.5-pro", &["gemini-2.5-flash"]),
    ("gemini-1.5-pro", &["gemini-1.5-flash"]),
    ("mistral-large", &["mistral-small-latest"]),
];

pub fn find(seeing: &Seeing<'_>, pair: &Pair) -> Option<Finding> {
    let short = &pair.short;
    if short.calls < FEW {
        return None;
    }
    let (other, price) = cheaper(seeing, &pair.model, short)?;
    let saving = short.cost.saturating_sub(price);
    let share = short.calls as f64 / pair.calls.max(1) as f64;
    Some(Finding {
        kind: Kind::CheaperModel,
        title: format!("{} short answers of {} might as well come from {other}", short.calls, pair.model),
        tenant: Some(pair.tenant),
        model: pair.model.to_string(),
        evidence: json!({
            "calls": pair.calls,
            "short_calls": short.calls,
            "short_share": share,
            "short_cost_usd": short.cost.usd(),
            "cost_with_the_cheaper_model_usd": price.usd(),
            "cheaper_model": other,
            "mean_input_tokens": short.tokens.input as f64 / short.calls as f64,
            "mean_output_tokens": short.tokens.output as f64 / short.calls as f64,
        }),
        saving,
        confidence: Confidence::Estimated,
        what_to_do: format!(
            "Try {other} with an evaluation of your own for questions of this kind; it is a suggestion by length \
             alone, and says nothing of how good its answers are."
        ),
    })
}

/// The cheaper model, and what it would have taken for the short answers.
fn cheaper(seeing: &Seeing<'_>, model: &str, short: &Short) -> Option<(String, Money)> {
    let tables = &seeing.config.cheaper_models;
    let named = tables.iter().find(|table| table.instead_of.iter().any(|models| models.matches(model)));
    let candidates = named.map_or_else(|| family(model), |table| vec![table.model.clone()]);
    let mut priced =
        candidates.into_iter().filter_map(|other| price(seeing.reprice, &other, short).map(|price| (other, price)));
    priced.next()
}

/// The smaller models of the family, called as the model is: a hosted API may name the provider first.
fn family(model: &str) -> Vec<String> {
    let (provider, name) =
        model.rsplit_once('/').map_or(("", model), |(_, name)| (&model[..model.len() - name.len()], name));
    let is_it = |known: &str| {
        let rest = name.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest == "-latest" || is_version(rest))
    };
    let found = FAMILIES.iter().find(|(known, _)| is_it(known));
    found.map_or_else(Vec::new, |(_, others)| others.iter().map(|other| format!("{provider}{other}")).collect())
}

/// `-2024-08-06`, `-0613`, `-1-20250805`, `.1`.
fn is_version(rest: &str) -> bool {
    let mut letters = rest.bytes();
    matches!(letters.next(), Some(b'-' | b'.'))
        && rest.len() > 1
        && letters.all(|letter| letter.is_ascii_digit() || letter == b'-')
}

fn price(reprice: Reprice<'_>, model: &str, short: &Short) -> Option<Money> {
    let together = short.calls.min(TOGETHER);
    let part = |sum: u64| {
        let part = (u128::from(sum) * u128::from(together) + u128::from(short.calls) / 2) / u128::from(short.calls);
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    // What another backend would have kept of the input is not known: it is taken to be nothing.
    let tokens = Tokens { input: part(short.tokens.input), output: part(short.tokens.output), ..Tokens::default() };
    let price = reprice(model, &tokens)?;
    let all = u128::from(price.nanos()) * u128::from(short.calls) / u128::from(together);
    Some(Money::from_nanos(u64::try_from(all).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_by_name_date_and_provider() {
        for (model, other) in [
            ("gpt-4o", "gpt-4o-mini"),
            ("gpt-4o-2024-08-06", "gpt-4o-mini"),
            ("openai/gpt-4o", "openai/gpt-4o-mini"),
            ("openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o-mini"),
            ("gpt-5.1", "gpt-5-mini"),
            ("gpt-4-0613", "gpt-4.1-mini"),
            ("claude-opus-4-1-20250805", "claude-haiku-4-5"),
            ("claude-3-5-sonnet-latest", "claude-haiku-4-5"),
        ] {
            assert_eq!(family(model).first().map(String::as_str), Some(other), "{model}");
        }
        for model in ["gpt-4o-mini", "gpt-4o-audio-preview", "o1-mini", "llama", "", "gpt-4.1-nano", "gpt-5-", "/"] {
            assert_eq!(family(model), Vec::<String>::new(), "{model}");
        }
    }

    #[test]
    fn a_million_calls_are_priced_as_one_is() {
        // A model that takes ten times as much for an input above 200,000 tokens.
        let reprice = |_: &str, tokens: &Tokens| {
            let rate = if tokens.input > 200_000 { 1_000 } else { 100 };
            Some(Money::from_nanos(tokens.input * rate + tokens.output * 300))
        };
        let calls = 1_000_000;
        let tokens = Tokens { input: 1_999 * calls, output: 33 * calls, ..Tokens::default() };
        let short = Short { calls, cost: Money::ZERO, tokens };
        assert_eq!(price(&reprice, "m", &short).map(Money::nanos), Some(calls * (1_999 * 100 + 33 * 300)));
    }
}
