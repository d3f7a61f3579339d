//! One rule: what is read, and from where on it is bad.

use serde::{Deserialize, Deserializer, Serialize};

use super::Level;
use crate::windows::Window;

/// The part of a threshold below which a level is left.
const STAYS: f64 = 0.9;

/// What can be read. In its words: what a rule's `metric` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    FirstTokenMs,
    LatencyMs,
    PerTokenMs,
    MemoryShare,
    CpuShare,
    DiskShare,
    ErrorRate,
    CacheHitRate,
    Queue,
    BudgetShare,
    GpuMemoryShare,
    GpuTemperatureC,
    GpuUtilizationShare,
    Regression,
    BackendsDown,
    RedisDown,
}

impl Metric {
    pub const ALL: [Metric; 16] = [
        Metric::FirstTokenMs,
        Metric::LatencyMs,
        Metric::PerTokenMs,
        Metric::MemoryShare,
        Metric::CpuShare,
        Metric::DiskShare,
        Metric::ErrorRate,
        Metric::CacheHitRate,
        Metric::Queue,
        Metric::BudgetShare,
        Metric::GpuMemoryShare,
        Metric::GpuTemperatureC,
        Metric::GpuUtilizationShare,
        Metric::Regression,
        Metric::BackendsDown,
        Metric::RedisDown,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Metric::FirstTokenMs => "first_token_ms",
            Metric::LatencyMs => "latency_ms",
            Metric::PerTokenMs => "per_token_ms",
            Metric::MemoryShare => "memory_share",
            Metric::CpuShare => "cpu_share",
            Metric::DiskShare => "disk_share",
            Metric::ErrorRate => "error_rate",
            Metric::CacheHitRate => "cache_hit_rate",
            Metric::Queue => "queue",
            Metric::BudgetShare => "budget_share",
            Metric::GpuMemoryShare => "gpu_memory_share",
            Metric::GpuTemperatureC => "gpu_temperature_c",
            Metric::GpuUtilizationShare => "gpu_utilization_share",
            Metric::Regression => "regression",
            Metric::BackendsDown => "backends_down",
            Metric::RedisDown => "redis_down",
        }
    }

    /// Whether less is worse.
    pub const fn is_bad_below(self) -> bool {
        matches!(self, Metric::CacheHitRate)
    }

    /// Whether it is never more than one.
    pub const fn is_share(self) -> bool {
        matches!(
            self,
            Metric::MemoryShare
                | Metric::CpuShare
                | Metric::DiskShare
                | Metric::ErrorRate
                | Metric::CacheHitRate
                | Metric::GpuMemoryShare
                | Metric::GpuUtilizationShare
        )
    }

    /// Whether it can be read of one model.
    pub const fn is_of_models(self) -> bool {
        matches!(
            self,
            Metric::FirstTokenMs
                | Metric::LatencyMs
                | Metric::PerTokenMs
                | Metric::ErrorRate
                | Metric::CacheHitRate
                | Metric::Regression
        )
    }

    /// Whether it can be read of one backend.
    pub const fn is_of_backends(self) -> bool {
        matches!(
            self,
            Metric::FirstTokenMs
                | Metric::LatencyMs
                | Metric::PerTokenMs
                | Metric::ErrorRate
                | Metric::Queue
                | Metric::Regression
        )
    }

    fn named(name: &str) -> Result<Self, String> {
        if let Some(metric) = Metric::ALL.into_iter().find(|metric| metric.name() == name) {
            return Ok(metric);
        }
        let near = |metric: &Metric| (strsim::jaro_winkler(metric.name(), name) * 1e6) as u64;
        let nearest = Metric::ALL.into_iter().max_by_key(near).filter(|metric| near(metric) > 800_000);
        let meant = nearest.map_or(String::new(), |metric| format!(" (did you mean `{}`?)", metric.name()));
        let all = Metric::ALL.map(Metric::name).join(", ");
        Err(format!("there is no metric `{name:.64}`{meant}; there are {all}"))
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Metric::named(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is called. Empty: as its metric.
    #[serde(default)]
    pub name: String,
    /// What is read.
    pub metric: Metric,
    /// From here on it is a warning, ...
    #[serde(default)]
    pub warning: Option<f64>,
    /// ... and from here on critical. At least one of the two.
    #[serde(default)]
    pub critical: Option<f64>,
    /// Over how long it is read, where it is read over a time: "1m", "5m", "15m".
    #[serde(default = "five")]
    pub window: Window,
    /// While it lasts it is told again after this time.
    #[serde(default = "cooldown")]
    pub cooldown_secs: u64,
    /// How long it must last before it is told.
    #[serde(default)]
    pub for_secs: u64,
    /// Only of this backend.
    #[serde(default)]
    pub backend: Option<String>,
    /// Only of this model.
    #[serde(default)]
    pub model: Option<String>,
}

const fn five() -> Window {
    Window::Five
}

const fn cooldown() -> u64 {
    300
}

impl Rule {
    /// Whether both read the same and are called the same, whatever their thresholds.
    pub fn reads_as(&self, other: &Rule) -> bool {
        self.name() == other.name()
            && self.metric == other.metric
            && self.window == other.window
            && self.backend == other.backend
            && self.model == other.model
    }

    /// With the defaults of settings.
    pub fn new(metric: Metric, warning: Option<f64>, critical: Option<f64>) -> Self {
        Rule {
            name: String::new(),
            metric,
            warning,
            critical,
            window: five(),
            cooldown_secs: cooldown(),
            for_secs: 0,
            backend: None,
            model: None,
        }
    }

    pub fn name(&self) -> &str {
        if self.name.is_empty() { self.metric.name() } else { &self.name }
    }

    /// The level of a value by the thresholds alone.
    pub fn level(&self, value: f64) -> Level {
        self.level_by(value, 1.0)
    }

    /// The highest level that a value does not take it out of.
    pub fn level_to_stay(&self, value: f64) -> Level {
        self.level_by(value, STAYS)
    }

    /// Where a level begins; where this one has no threshold, the other's.
    pub fn threshold(&self, level: Level) -> f64 {
        let (first, second) = match level {
            Level::Critical => (self.critical, self.warning),
            Level::Ok | Level::Warning => (self.warning, self.critical),
        };
        first.or(second).unwrap_or_default()
    }

    fn level_by(&self, value: f64, part: f64) -> Level {
        let is_beyond = |threshold: Option<f64>| {
            threshold.is_some_and(|threshold| {
                if self.metric.is_bad_below() { value <= threshold / part } else { value >= threshold * part }
            })
        };
        match () {
            () if is_beyond(self.critical) => Level::Critical,
            () if is_beyond(self.warning) => Level::Warning,
            () => Level::Ok,
        }
    }
}
