//! The settings of the profiler.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// More slow requests than this are more than anybody reads, and each takes some kilobytes.
const MOST_SLOW: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether requests are told of under `/api/performance`, with what is learned of them.
    pub profile: bool,
    /// How many of the slowest requests of the last fifteen minutes are kept with their spans.
    pub slow_kept: usize,
    /// A room that takes longer than this in one of twenty requests, by itself, may be the bottleneck ...
    pub allowance_ms: f64,
    /// ... if it also takes at least this share of the time until the head of the answer.
    pub allowance_share: f64,
    /// How many times its usual time a backend's first chunk, chunk, token or whole answer takes to be called slower
    /// at all, ...
    pub minor: f64,
    /// ... much slower, ...
    pub moderate: f64,
    /// ... or far too slow.
    pub severe: f64,
    /// What is usual is an average in which a value counts half after this time.
    pub baseline_half_life_secs: u64,
    /// How many calls must have been seen before anything is called slow.
    pub baseline_min_samples: u64,
    /// What has been slow for this long is what is usual from then on.
    pub adopt_after_secs: u64,
    /// A file to keep what is usual over a restart. Empty: it is learned anew.
    pub baseline_path: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            profile: true,
            slow_kept: 32,
            allowance_ms: 5.0,
            allowance_share: 0.05,
            minor: 1.2,
            moderate: 1.5,
            severe: 2.0,
            baseline_half_life_secs: 86_400,
            baseline_min_samples: 200,
            adopt_after_secs: 86_400,
            baseline_path: PathBuf::new(),
        }
    }
}

impl Config {
    /// What no single key can say: the key, below `latency`, and what is wrong.
    pub fn contradiction(&self) -> Option<(String, String)> {
        let wrong = |key: &str, words: &str| Some((key.to_owned(), words.to_owned()));
        let is_positive = |number: f64| number.is_finite() && number > 0.0;
        if self.slow_kept > MOST_SLOW {
            return wrong("slow_kept", &format!("at most {MOST_SLOW} are kept"));
        }
        if !is_positive(self.allowance_ms) {
            return wrong("allowance_ms", "must be more than 0");
        }
        if !(is_positive(self.allowance_share) && self.allowance_share <= 1.0) {
            return wrong("allowance_share", "must be more than 0 and at most 1");
        }
        if !(self.minor.is_finite() && self.minor > 1.05) {
            return wrong("minor", "must be more than 1.05: less than that is chance");
        }
        if !(self.moderate.is_finite() && self.moderate > self.minor) {
            return wrong("moderate", "must be more than `minor`");
        }
        if !(self.severe.is_finite() && self.severe > self.moderate) {
            return wrong("severe", "must be more than `moderate`");
        }
        if self.baseline_half_life_secs < 600 {
            return wrong("baseline_half_life_secs", "must be at least 600: what is usual is not what was just now");
        }
        if self.baseline_min_samples < 20 {
            return wrong("baseline_min_samples", "must be at least 20");
        }
        if self.adopt_after_secs < 600 {
            return wrong("adopt_after_secs", "must be at least 600");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_told_by_its_key() {
        assert_eq!(Config::default().contradiction(), None);
        for (settings, key) in [
            ("slow_kept = 1000", "slow_kept"),
            ("allowance_ms = 0", "allowance_ms"),
            ("allowance_share = 2", "allowance_share"),
            ("minor = 1.0", "minor"),
            ("moderate = 1.1", "moderate"),
            ("severe = nan", "severe"),
            ("baseline_half_life_secs = 1", "baseline_half_life_secs"),
            ("baseline_min_samples = 1", "baseline_min_samples"),
            ("adopt_after_secs = 0", "adopt_after_secs"),
        ] {
            let config: Config = toml::from_str(settings).unwrap();
            assert_eq!(config.contradiction().map(|(key, _)| key).as_deref(), Some(key), "{settings}");
        }
        assert!(toml::from_str::<Config>("slow_kpet = 1").is_err());
    }
}
