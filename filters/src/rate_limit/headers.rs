//! What an answer says of the limits: OpenAI's `x-ratelimit-*`, and the IETF's `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-11).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::limit::Unit;
use super::limiter::{Mode, Verdict};
use super::rule::Rule;
use crate::refusal::{Counts, span};
use crate::reply::degraded;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Tells where the request stands. Our limits win over the backend's; where we have none, the backend's stay.
pub fn tell(headers: &mut HeaderMap, rules: &[Arc<Rule>], verdicts: &[Verdict], mode: Mode) {
    if mode == Mode::Degraded {
        headers.append(degraded::HEADER, HeaderValue::from_static("redis"));
    }
    // In the order of the settings, not of memory.
    let mut told: Vec<(&Rule, &Verdict)> =
        verdicts.iter().filter_map(|verdict| Some((&**rules.get(verdict.rule)?, verdict))).collect();
    told.sort_by_key(|(_, verdict)| verdict.rule);
    for (counts, names) in [(Counts::Requests, &REQUESTS), (Counts::Tokens, &TOKENS)] {
        let tightest = told.iter().filter(|(rule, _)| rule.unit.counts() == counts && rule.unit != Unit::Concurrent);
        let Some((_, verdict)) = tightest.min_by(|one, other| one.1.looseness().total_cmp(&other.1.looseness())) else {
            continue;
        };
        headers.insert(names[0].clone(), HeaderValue::from(verdict.amount));
        headers.insert(names[1].clone(), HeaderValue::from(verdict.remaining()));
        let reset = verdict.standing.resets.map_or(Duration::ZERO, |(_, all)| all);
        if let Ok(reset) = HeaderValue::try_from(span(reset)) {
            headers.insert(names[2].clone(), reset);
        }
    }
    if let Some((rule, verdict)) = told.iter().min_by(|one, other| one.1.looseness().total_cmp(&other.1.looseness())) {
        let some = verdict.standing.resets.map_or(0, |(some, _)| some.as_secs());
        put(headers, RATELIMIT, format!("\"{}\";r={};t={some}", rule.name, verdict.remaining()));
        put(headers, RATELIMIT_POLICY, policies(&told));
    }
}

fn policies(told: &[(&Rule, &Verdict)]) -> String {
    let mut text = String::with_capacity(64);
    for (rule, verdict) in told {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}\"{}\";q={}", rule.name, verdict.amount);
        let seconds = rule.window().as_secs();
        // The draft counts windows in whole seconds; a shorter one is left unsaid.
        if seconds > 0 {
            let _ = write!(text, ";w={seconds}");
        }
        if rule.unit == Unit::Concurrent {
            text.push_str(";qu=\"concurrent-requests\"");
        }
    }
    text
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

impl Verdict {
    pub fn remaining(&self) -> u64 {
        self.amount.saturating_sub(self.standing.used)
    }

    /// How much of the limit is left, in parts of it.
    fn looseness(&self) -> f64 {
        self.remaining() as f64 / self.amount.max(1) as f64
    }
}
