//! The settings of alerts: the rules, and those that hold where none are given.

use serde::{Deserialize, Serialize};

use super::rule::{Metric, Rule};

const MOST_RULES: usize = 64;
const LONGEST_SECS: u64 = 86_400;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where there are none, these hold: `error_rate` 0.05 and 0.2, `memory_share` 0.9 and 0.97, `disk_share` 0.9 and
    /// 0.97, `budget_share` 0.8 and 1 (told again after six hours), `backends_down` 1 (a warning), `redis_down` 1 (a warning, once it has lasted for
    /// ten seconds), `regression` 2 and 3.
    pub rules: Vec<Rule>,
    /// What is told is also posted here, as JSON. Empty: nowhere.
    pub webhook_url: String,
    /// The environment variable that holds a key for it, sent as `authorization: Bearer`.
    pub webhook_key_env: Option<String>,
}

impl Config {
    /// The rules that hold.
    pub fn effective(&self) -> Vec<Rule> {
        if self.rules.is_empty() { defaults() } else { self.rules.clone() }
    }

    /// What no single key can say: the key, below `alerts`, and what is wrong.
    pub fn contradiction(&self) -> Option<(String, String)> {
        if self.rules.len() > MOST_RULES {
            return Some(("rules".into(), format!("at most {MOST_RULES}")));
        }
        let is_http = self.webhook_url.starts_with("http://") || self.webhook_url.starts_with("https://");
        if !self.webhook_url.is_empty() && !is_http {
            return Some(("webhook_url".into(), "an address that begins with http:// or https:// is expected".into()));
        }
        for (place, rule) in self.rules.iter().enumerate() {
            if let Some((key, words)) = wrong(rule) {
                return Some((format!("rules.{place}.{key}"), words));
            }
            if self.rules.iter().take(place).any(|before| before.name() == rule.name()) {
                let words = format!("another rule is called `{}`, too: give one of them a `name`", rule.name());
                return Some((format!("rules.{place}.name"), words));
            }
        }
        None
    }
}

fn wrong(rule: &Rule) -> Option<(&'static str, String)> {
    let metric = rule.metric.name();
    let most = if rule.metric.is_share() { 1.0 } else { f64::MAX };
    let is_wrong = |threshold: &f64| !(threshold.is_finite() && *threshold > 0.0 && *threshold <= most);
    if rule.name.len() > 128 {
        return Some(("name", "at most 128 bytes".into()));
    }
    if rule.warning.is_none() && rule.critical.is_none() {
        return Some(("warning", "`warning` or `critical` must be given".into()));
    }
    for (key, threshold) in [("warning", rule.warning), ("critical", rule.critical)] {
        if threshold.as_ref().is_some_and(is_wrong) {
            let words = if rule.metric.is_share() { "more than 0 and at most 1" } else { "more than 0" };
            return Some((key, format!("`{metric}` is {words}")));
        }
    }
    if let Some((warning, critical)) = rule.warning.zip(rule.critical) {
        let is_in_order = if rule.metric.is_bad_below() { warning > critical } else { warning < critical };
        if !is_in_order {
            let order = if rule.metric.is_bad_below() { "below" } else { "above" };
            return Some(("critical", format!("must be {order} `warning` for `{metric}`")));
        }
    }
    if rule.for_secs > LONGEST_SECS || rule.cooldown_secs > LONGEST_SECS {
        let key = if rule.for_secs > LONGEST_SECS { "for_secs" } else { "cooldown_secs" };
        return Some((key, format!("at most {LONGEST_SECS}")));
    }
    if rule.backend.is_some() && !rule.metric.is_of_backends() {
        return Some(("backend", format!("`{metric}` is not known of one backend")));
    }
    if rule.model.is_some() && !rule.metric.is_of_models() {
        return Some(("model", format!("`{metric}` is not known of one model")));
    }
    None
}

fn defaults() -> Vec<Rule> {
    let rule = |metric, warning, critical| Rule::new(metric, Some(warning), critical);
    vec![
        rule(Metric::ErrorRate, 0.05, Some(0.2)),
        rule(Metric::MemoryShare, 0.9, Some(0.97)),
        rule(Metric::DiskShare, 0.9, Some(0.97)),
        // It lasts until the period is over.
        Rule { cooldown_secs: 21_600, ..rule(Metric::BudgetShare, 0.8, Some(1.0)) },
        rule(Metric::BackendsDown, 1.0, None),
        Rule { for_secs: 10, ..rule(Metric::RedisDown, 1.0, None) },
        // The classes: a minor one is in the report, and wakes nobody.
        rule(Metric::Regression, 2.0, Some(3.0)),
    ]
}
