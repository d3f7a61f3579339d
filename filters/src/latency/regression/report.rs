//! What is told of regressions.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::series::Series;
use super::{Class, Measure, Pair, Regressions};
use crate::windows::{millis, round};

/// Five minutes against the ten before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    Improving,
    Stable,
    Degrading,
    /// Too few calls to say.
    Unknown,
}

/// A series as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Regressed {
    pub backend: Arc<str>,
    pub model: Arc<str>,
    pub measure: Measure,
    pub class: Class,
    pub since_seconds: u64,
    /// None before anything is usual, or where nothing was heard of late.
    pub ratio: Option<f64>,
    pub current_ms: Option<f64>,
    pub baseline_ms: Option<f64>,
    pub baseline_samples: u64,
    /// Whether enough is known for a class.
    pub ready: bool,
    pub trend: Trend,
}

impl Regressions {
    /// All series, in the order of their names.
    pub fn list(&self, now: Instant) -> Vec<Regressed> {
        let state = self.state();
        let told = state.pairs.iter().flat_map(|((backend, model), pair)| {
            Measure::ALL
                .into_iter()
                .zip(&pair.series)
                .filter_map(|(measure, series)| Some(self.told(now, (backend, model, measure), series.as_deref()?)))
        });
        let mut told: Vec<Regressed> = told.collect();
        told.sort_by(|one, other| (&one.model, &one.backend).cmp(&(&other.model, &other.backend)));
        told
    }

    /// For each model, its backends; for each of these the worst class and what was measured.
    pub fn report(&self, now: Instant) -> Value {
        let mut models = json!({});
        for series in self.list(now) {
            let pair = &mut models[series.model.as_ref()][series.backend.as_ref()];
            let class = self.class(Some(&series.backend), Some(&series.model));
            pair["class"] = json!(class);
            pair[series.measure.name()] = json!({
                "class": series.class, "since_seconds": series.since_seconds, "ratio": series.ratio,
                "current_ms": series.current_ms, "baseline_ms": series.baseline_ms,
                "baseline_samples": series.baseline_samples, "ready": series.ready, "trend": series.trend,
            });
        }
        models
    }

    /// The worst class of those that are named so; of all, where neither is named.
    pub fn class(&self, backend: Option<&str>, model: Option<&str>) -> Class {
        let state = self.state();
        let is_named = |key: &(Arc<str>, Arc<str>)| {
            backend.is_none_or(|backend| *key.0 == *backend) && model.is_none_or(|model| *key.1 == *model)
        };
        let named = state.pairs.iter().filter(|(key, _)| is_named(key));
        named.map(|(_, pair)| Pair::class(pair)).max().unwrap_or_default()
    }

    /// What all series take of memory, about.
    pub fn bytes(&self) -> usize {
        let state = self.state();
        let series = state.pairs.values().flat_map(|pair| pair.series.iter().flatten());
        series.map(|series| size_of::<Series>() + series.samples.bytes()).sum()
    }

    fn told(&self, now: Instant, named: (&Arc<str>, &Arc<str>, Measure), series: &Series) -> Regressed {
        let current = series.now(now).map(|found| found.middle.exp());
        let usual = series.baseline.map(|baseline| baseline.seconds());
        Regressed {
            backend: named.0.clone(),
            model: named.1.clone(),
            measure: named.2,
            class: series.class,
            since_seconds: now.saturating_duration_since(series.since).as_secs(),
            ratio: current.zip(usual).map(|(current, usual)| round(current / usual)),
            current_ms: current.map(millis),
            baseline_ms: usual.map(millis),
            baseline_samples: series.baseline.map_or(0, |baseline| baseline.samples as u64),
            ready: series.baseline.is_some_and(|baseline| baseline.is_ready(self.settings.load().min_samples)),
            trend: series.trend(),
        }
    }
}
