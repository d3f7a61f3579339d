//! Alerts: what an operator wants to be told of, told once, and told when it is over.
//!
//! Each rule is a state machine: ok, warning, critical, and unknown where nothing can be read. It climbs when its
//! reading has been beyond a threshold for `for_secs`. It comes down below nine tenths of the threshold (above ten
//! ninths of it where less is worse), or when it has been on the good side of it for `for_secs`: a reading that
//! trembles at the threshold is told once. While it lasts it is told again after each `cooldown_secs`. A reading that
//! is missing changes nothing for two windows; then the rule is unknown, which is no alert.

mod config;
mod rule;

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;

pub use config::Config;
pub use rule::{Metric, Rule};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Critical,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub rule: String,
    pub metric: Metric,
    pub backend: Option<String>,
    pub model: Option<String>,
    pub level: Level,
    /// The same as `level` where it is told again.
    pub was: Level,
    /// None where it cannot be read any more.
    pub value: Option<f64>,
    /// The one that it is beyond; where it is over, the one that it was beyond.
    pub threshold: f64,
    #[serde(serialize_with = "date")]
    pub at: SystemTime,
    /// Since when it has been at this level.
    #[serde(serialize_with = "date")]
    pub since: SystemTime,
}

#[derive(Debug)]
struct State {
    /// None: unknown.
    level: Option<Level>,
    since: SystemTime,
    /// When it was last told.
    told: Instant,
    /// A level that is waited for, and since when.
    pending: Option<(Level, Instant)>,
    /// When it could last be read.
    read: Option<Instant>,
    value: Option<f64>,
}

#[derive(Debug)]
pub struct Alerts {
    rules: Vec<(Rule, State)>,
}

impl Alerts {
    pub fn new(config: &Config, now: Instant, at: SystemTime) -> Self {
        let state = || State { level: None, since: at, told: now, pending: None, read: None, value: None };
        Alerts { rules: config.effective().into_iter().map(|rule| (rule, state())).collect() }
    }

    /// Other rules from now on. One that reads the same under the same name goes on at its level.
    pub fn renew(&mut self, config: &Config, now: Instant, at: SystemTime) {
        let mut before = std::mem::replace(self, Alerts::new(config, now, at)).rules;
        for (rule, state) in &mut self.rules {
            if let Some(place) = before.iter().position(|(known, _)| known.reads_as(rule)) {
                *state = before.swap_remove(place).1;
            }
        }
    }

    /// Reads each rule's metric and says what is to be told; `at` is what the wall clock says now.
    pub fn tick(&mut self, now: Instant, at: SystemTime, mut read: impl FnMut(&Rule) -> Option<f64>) -> Vec<Change> {
        let rules = self.rules.iter_mut();
        rules
            .filter_map(|(rule, state)| state.tick(rule, now, at, read(rule).filter(|value| value.is_finite())))
            .collect()
    }

    /// Each rule whose metric can be read, with its level.
    pub fn levels(&self) -> impl Iterator<Item = (&str, Level)> {
        self.rules.iter().filter_map(|(rule, state)| Some((rule.name(), state.level?)))
    }

    /// What `GET /api/alerts` answers.
    pub fn report(&self) -> Value {
        let active = self.rules.iter().filter(|(_, state)| state.level > Some(Level::Ok)).count();
        let rules = self.rules.iter().map(|(rule, state)| {
            json!({
                "name": rule.name(), "metric": rule.metric, "window": rule.window, "backend": rule.backend,
                "model": rule.model, "warning": rule.warning, "critical": rule.critical,
                "level": state.level.map_or(json!("unknown"), |level| json!(level)),
                "value": state.value, "since": written(state.since),
            })
        });
        json!({ "active": active, "rules": rules.collect::<Vec<_>>() })
    }
}

impl State {
    fn tick(&mut self, rule: &Rule, now: Instant, at: SystemTime, value: Option<f64>) -> Option<Change> {
        self.value = value;
        let Some(value) = value else {
            return self.miss(rule, now, at);
        };
        self.read = Some(now);
        let was = *self.level.get_or_insert_with(|| {
            self.since = at;
            Level::Ok
        });
        let level = self.next(rule, now, value, was);
        if level == was {
            return self.again(rule, now, at, value, was);
        }
        (self.level, self.since, self.told, self.pending) = (Some(level), at, now, None);
        Some(change(rule, (was, level), Some(value), at, at))
    }

    /// What cannot be read for long is unknown; whoever was alarmed is told that it is over.
    fn miss(&mut self, rule: &Rule, now: Instant, at: SystemTime) -> Option<Change> {
        self.pending = None;
        let is_over = self.read.is_none_or(|read| now.saturating_duration_since(read) >= rule.window.span() * 2);
        let was = self.level.filter(|_| is_over)?;
        (self.level, self.since, self.told) = (None, at, now);
        (was > Level::Ok).then(|| change(rule, (was, Level::Ok), None, at, at))
    }

    fn again(&mut self, rule: &Rule, now: Instant, at: SystemTime, value: f64, level: Level) -> Option<Change> {
        let is_due = now.saturating_duration_since(self.told) >= Duration::from_secs(rule.cooldown_secs);
        if level == Level::Ok || !is_due {
            return None;
        }
        self.told = now;
        Some(change(rule, (level, level), Some(value), at, self.since))
    }

    /// The level that it has with this value.
    fn next(&mut self, rule: &Rule, now: Instant, value: f64, was: Level) -> Level {
        let wanted = rule.level(value);
        if wanted == was {
            self.pending = None;
            return was;
        }
        // Far on the good side it need not be waited for.
        let clear = rule.level_to_stay(value);
        if wanted < was && clear < was {
            return clear;
        }
        let waits = Duration::from_secs(rule.for_secs);
        let since = match self.pending {
            // On its way to the same side: it is waited for the milder of the two.
            Some((pending, since)) if (pending > was) == (wanted > was) => {
                self.pending = Some((milder(pending, wanted, was), since));
                since
            }
            _ => {
                self.pending = Some((wanted, now));
                now
            }
        };
        let is_waited_for = now.saturating_duration_since(since) >= waits;
        // Coming down without a time to wait takes the clear side.
        let may = if wanted > was { is_waited_for } else { is_waited_for && !waits.is_zero() };
        if may { self.pending.map_or(wanted, |(pending, _)| pending) } else { was }
    }
}

/// Of two levels on the same side of what it was, the nearer one.
fn milder(one: Level, other: Level, was: Level) -> Level {
    if one > was { one.min(other) } else { one.max(other) }
}

fn change(rule: &Rule, (was, level): (Level, Level), value: Option<f64>, at: SystemTime, since: SystemTime) -> Change {
    Change {
        rule: rule.name().to_owned(),
        metric: rule.metric,
        backend: rule.backend.clone(),
        model: rule.model.clone(),
        level,
        was,
        value,
        threshold: rule.threshold(if level == Level::Ok { was } else { level }),
        at,
        since,
    }
}

fn written(date: SystemTime) -> String {
    humantime::format_rfc3339_seconds(date).to_string()
}

fn date<S: Serializer>(date: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*date))
}

#[cfg(test)]
mod tests;
