//! The settings of the cache, and which of them hold for a question.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::meaning::fitness::language;
use crate::models::Models;
use crate::tenants::Names;
use crate::{Ask, Tenant};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What may be answered from memory.
    pub mode: Mode,
    /// How long an answer is fresh.
    pub ttl_secs: u64,
    /// An answer in use stays fresh longer: by `ttl_secs` more with each use, up to this. 0: it does not.
    pub max_ttl_secs: u64,
    /// How long an answer to a question about now is fresh (today, latest, price of …).
    pub volatile_ttl_secs: u64,
    /// How long past its freshness an answer is still given, while a fresh one is fetched behind.
    pub stale_while_revalidate_secs: u64,
    /// How long past its freshness an answer is given when the backend fails.
    pub stale_if_error_secs: u64,
    /// The highest temperature at which a kept answer will do. A request that names none counts as willing.
    pub max_temperature: f64,
    /// An answer larger than this is not kept.
    pub max_entry_bytes: usize,
    /// What the answers in memory take at most.
    pub memory_bytes: usize,
    /// A folder for answers on disk; empty: none.
    #[serde(deserialize_with = "path")]
    pub disk_path: Option<PathBuf>,
    /// What the answers on disk take at most.
    pub disk_bytes: u64,
    /// Whether answers are kept in Redis too, if there is one.
    pub redis: bool,
    /// How long the first question of its kind waits for what other sidecars know of such.
    pub load_wait_ms: u64,
    /// Questions that can be found by their meaning at most.
    pub max_entries: usize,
    /// A folder with `model.onnx` and `tokenizer.json`; empty: nothing is matched by meaning.
    #[serde(deserialize_with = "path")]
    pub model_path: Option<PathBuf>,
    /// The ONNX runtime's library; empty: `libonnxruntime.so` in the model's folder, else the system's.
    #[serde(deserialize_with = "path")]
    pub runtime_path: Option<PathBuf>,
    /// A folder with a static model; empty: the folder `static` in the model's. Without it every miss takes a pass of the model.
    #[serde(deserialize_with = "path")]
    pub gate_path: Option<PathBuf>,
    /// The least similarity (cosine) at which one question may be answered as another.
    pub threshold: f32,
    /// Below this similarity of the static model nothing is looked for further.
    pub gate_threshold: f32,
    /// Sessions of the model, a thread each; 0: half of the cores.
    pub sessions: usize,
    /// Questions that may wait for a session; one more is a miss.
    pub queue: usize,
    /// Questions that one pass of the model takes at most.
    pub batch: usize,
    /// How long a question waits to be matched by meaning; then it is a miss.
    pub deadline_ms: u64,
    /// The languages that the model knows, by their codes of ISO 639-3, or `*` for all. Questions in two of them
    /// never meet.
    pub languages: Vec<String>,
    /// Whether answers say how similar the question was (`x-cache-similarity`).
    pub similarity_header: bool,
    /// DANGER: whether the admin port shows the text of a kept question and answer.
    pub show_text: bool,
    /// Other settings for some tenants or models; the first that matches counts.
    pub scopes: Vec<ScopeConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            mode: Mode::On,
            ttl_secs: 3_600,
            max_ttl_secs: 0,
            volatile_ttl_secs: 60,
            stale_while_revalidate_secs: 0,
            stale_if_error_secs: 86_400,
            max_temperature: 0.3,
            max_entry_bytes: 1024 * 1024,
            memory_bytes: 256 * 1024 * 1024,
            disk_path: None,
            disk_bytes: 1024 * 1024 * 1024,
            redis: true,
            load_wait_ms: 20,
            max_entries: 100_000,
            model_path: None,
            runtime_path: None,
            gate_path: None,
            threshold: 0.84,
            gate_threshold: 0.70,
            sessions: 0,
            queue: 64,
            batch: 8,
            deadline_ms: 100,
            languages: vec!["eng".to_owned()],
            similarity_header: true,
            show_text: false,
            scopes: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The same question, and one that means the same.
    #[default]
    On,
    /// The same question; what a like one would have been answered is only counted.
    Shadow,
    /// The same question, and nothing else.
    Exact,
    /// Nothing is kept.
    Off,
}

/// Settings of some questions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeConfig {
    /// A name of `[tenants.names]` or a digest; absent: any.
    pub tenant: Option<String>,
    /// Names, or beginnings of them before a `*`; absent: any.
    pub models: Option<Vec<Models>>,
    pub mode: Option<Mode>,
    pub ttl_secs: Option<u64>,
    pub max_ttl_secs: Option<u64>,
    pub stale_while_revalidate_secs: Option<u64>,
    pub stale_if_error_secs: Option<u64>,
    pub max_temperature: Option<f64>,
    pub threshold: Option<f32>,
}

/// What holds for one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    tenant: Option<Tenant>,
    models: Option<Vec<Models>>,
    pub mode: Mode,
    pub ttl: Duration,
    pub max_ttl: Duration,
    pub volatile_ttl: Duration,
    pub while_revalidate: Duration,
    pub if_error: Duration,
    pub max_temperature: f64,
    pub threshold: f32,
}

impl Rule {
    /// How long an answer with this freshness is of any use.
    pub fn kept(&self, fresh: Duration) -> Duration {
        fresh.max(self.max_ttl).saturating_add(self.while_revalidate.max(self.if_error))
    }

    fn is_for(&self, ask: &Ask) -> bool {
        let model = ask.question.model.as_deref().unwrap_or_default();
        self.tenant.is_none_or(|tenant| tenant == ask.tenant)
            && self.models.as_ref().is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

/// The rules in their order, the general one last.
#[derive(Clone, Debug)]
pub struct Rules {
    special: Vec<Rule>,
    general: Rule,
}

impl Rules {
    /// # Errors
    /// The key that is wrong, below `semantic_cache`, and why.
    pub fn new(config: &Config, names: &Names) -> Result<Self, (String, String)> {
        let general = config.rule(&ScopeConfig::default(), None);
        let special = config.scopes.iter().enumerate().map(|(at, scope)| {
            let tenant = scope.tenant.as_deref().map(|name| {
                names.tenant(name).or_else(|| Tenant::with_digest(name)).ok_or_else(|| {
                    let words = format!("`{name}` is neither a name in [tenants.names] nor a digest");
                    (format!("scopes.{at}.tenant"), words)
                })
            });
            tenant.transpose().map(|tenant| config.rule(scope, tenant))
        });
        Ok(Rules { special: special.collect::<Result<_, _>>()?, general })
    }

    pub fn of(&self, ask: &Ask) -> &Rule {
        self.special.iter().find(|rule| rule.is_for(ask)).unwrap_or(&self.general)
    }

    /// Whether any question may be matched by meaning, if only to count it.
    pub fn want_meaning(&self) -> bool {
        self.special.iter().chain([&self.general]).any(|rule| matches!(rule.mode, Mode::On | Mode::Shadow))
    }

    pub fn are_off(&self) -> bool {
        self.special.iter().chain([&self.general]).all(|rule| rule.mode == Mode::Off)
    }
}

impl Config {
    fn rule(&self, scope: &ScopeConfig, tenant: Option<Tenant>) -> Rule {
        let seconds = |own: Option<u64>, general: u64| Duration::from_secs(own.unwrap_or(general));
        let ttl = seconds(scope.ttl_secs, self.ttl_secs);
        Rule {
            tenant,
            models: scope.models.clone(),
            mode: scope.mode.unwrap_or(self.mode),
            ttl,
            max_ttl: seconds(scope.max_ttl_secs, self.max_ttl_secs),
            volatile_ttl: Duration::from_secs(self.volatile_ttl_secs).min(ttl),
            while_revalidate: seconds(scope.stale_while_revalidate_secs, self.stale_while_revalidate_secs),
            if_error: seconds(scope.stale_if_error_secs, self.stale_if_error_secs),
            max_temperature: scope.max_temperature.unwrap_or(self.max_temperature),
            threshold: scope.threshold.unwrap_or(self.threshold),
        }
    }

    /// Whether any question may be matched by meaning: then its model is read at the start.
    pub fn wants_meaning(&self) -> bool {
        let wants = |mode: Mode| matches!(mode, Mode::On | Mode::Shadow);
        wants(self.mode) || self.scopes.iter().any(|scope| scope.mode.is_some_and(wants))
    }

    /// What no single key can say: the key, below `semantic_cache`, and what is wrong.
    pub fn contradiction(&self) -> Option<(String, String)> {
        let wrong = |key: &str, words: &str| Some((key.to_owned(), words.to_owned()));
        let cosine = |value: f32| (0.0..=1.0).contains(&value);
        if !cosine(self.threshold)
            || self.scopes.iter().any(|scope| scope.threshold.is_some_and(|value| !cosine(value)))
        {
            return wrong("threshold", "a similarity lies between 0 and 1");
        }
        if !cosine(self.gate_threshold) {
            return wrong("gate_threshold", "a similarity lies between 0 and 1");
        }
        if self.max_entry_bytes == 0 || self.memory_bytes < self.max_entry_bytes {
            return wrong("memory_bytes", "it must hold at least one answer of max_entry_bytes");
        }
        if let Some(code) = self.languages.iter().find(|code| *code != "*" && language::parse(code).is_none()) {
            let words = format!("`{code}` is no code of ISO 639-3 that is known, such as `eng` or `deu`");
            return Some(("languages".to_owned(), words));
        }
        if self.max_entries == 0 || self.queue == 0 || self.batch == 0 {
            return wrong("max_entries", "max_entries, queue and batch must be at least 1");
        }
        if self.disk_path.is_some() && self.disk_bytes < 64 * 1024 * 1024 {
            return wrong("disk_bytes", "it must be at least 64 MiB (67_108_864)");
        }
        if let Some(model) = &self.model_path
            && !model.join("model.onnx").is_file()
        {
            return Some(("model_path".to_owned(), format!("there is no model.onnx in {}", model.display())));
        }
        None
    }
}

/// An empty path is none.
fn path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}
