//! Kept answers and what leads to them: shared by the room, the admin port and the background.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dashmap::{DashMap, DashSet};
use opentelemetry::metrics::Meter;

use super::config::{Config, Mode, Rule, Rules};
use super::counts::{Counts, Miss, Tier};
use super::entry::{Date, Entry, Id, Scope};
use super::matching::{Matched, Matching};
use super::meaning::pool::Busy;
use super::meaning::{self, Meaning};
use super::meters;
use super::places::{self, Place, Places};
use super::question;
use super::steering::Wishes;
use crate::Ask;
use crate::store::Store;
use crate::tenants::Names;
use crate::tokens::Tokenizers;
use crate::windows::{Summary, Window};

pub struct Cache {
    pub(super) rules: Rules,
    pub(super) places: Arc<Places>,
    pub(super) matching: Arc<Matching>,
    pub(super) counts: Arc<Counts>,
    pub(super) tokenizers: Arc<Tokenizers>,
    pub(super) names: Names,
    pub(super) max_entry_bytes: usize,
    pub(super) similarity_header: bool,
    pub(super) show_text: bool,
    wants_a_model: bool,
    /// Answers that are being made anew behind a stale one.
    pub(super) refreshing: Arc<DashSet<Id>>,
    uses: Arc<Uses>,
}

/// What a cache is made of.
pub struct Parts<'config> {
    pub config: &'config Config,
    pub names: Names,
    pub store: Option<Arc<Store>>,
    pub tokenizers: Arc<Tokenizers>,
    pub meter: &'config Meter,
    /// The lock on the folder of the disk, from a process that this one is to follow.
    pub disk_lock: Option<OwnedFd>,
}

/// What an ask is to the cache.
pub struct Question<'a> {
    pub ask: &'a Arc<Ask>,
    pub rule: &'a Rule,
    pub wishes: Wishes,
    pub id: Id,
    pub now: Date,
}

/// A kept answer that was found.
pub struct Found {
    pub entry: Arc<Entry>,
    pub place: Place,
    pub tier: Tier,
    pub similarity: Option<f32>,
}

/// What a search came to.
pub struct Search {
    pub found: Option<(Found, Use)>,
    /// Its text, where it can be found by that; nothing where that was not looked at.
    pub matched: Option<Option<Matched>>,
    pub miss: Miss,
}

/// What a kept answer is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// It will do although it is stale.
    Stale,
    /// It will do, and a fresh one is to be fetched.
    Refresh,
    /// It will do if the backend fails.
    IfError,
    None,
}

impl Cache {
    /// # Errors
    /// The key that is wrong, below `semantic_cache`, and why.
    pub fn new(
        config: &Config,
        names: Names,
        store: Option<Arc<Store>>,
        tokenizers: Arc<Tokenizers>,
        meter: &Meter,
    ) -> Result<Arc<Self>, (String, String)> {
        Cache::beside(Parts { config, names, store, tokenizers, meter, disk_lock: None })
    }

    /// The same, maybe beside another process that has left the disk alone and handed over its lock.
    ///
    /// # Errors
    /// As of [`Cache::new`].
    pub fn beside(parts: Parts<'_>) -> Result<Arc<Self>, (String, String)> {
        let Parts { config, names, store, tokenizers, meter, disk_lock } = parts;
        let rules = Rules::new(config, &names)?;
        let matching = Arc::new(Matching::new(config.max_entries));
        open_meaning(config, &rules, &matching, meter);
        let settings = places::Settings {
            memory_bytes: config.memory_bytes,
            disk_path: config.disk_path.clone(),
            disk_bytes: config.disk_bytes,
            max_entry_bytes: config.max_entry_bytes,
            redis: config.redis,
            max_hints: config.max_entries.min(10_000),
            load_wait: Duration::from_millis(config.load_wait_ms),
        };
        let places = Places::beside(&settings, store, matching.clone(), meter, disk_lock)
            .map_err(|error| ("disk_path".to_owned(), error.to_string()))?;
        let counts = Arc::<Counts>::default();
        counts.observe(meter);
        let cache = Cache {
            rules,
            places,
            matching,
            counts,
            tokenizers,
            names,
            max_entry_bytes: config.max_entry_bytes,
            similarity_header: config.similarity_header,
            show_text: config.show_text,
            wants_a_model: config.model_path.is_some(),
            refreshing: Arc::default(),
            uses: Arc::default(),
        };
        Ok(Arc::new(cache))
    }

    /// The same cache under other rules: what is kept stays, and so do the places, the model and the index.
    ///
    /// # Errors
    /// The key that is wrong, below `semantic_cache`, and why.
    pub fn renewed(&self, config: &Config, names: Names) -> Result<Arc<Self>, (String, String)> {
        Ok(Arc::new(Cache {
            rules: Rules::new(config, &names)?,
            places: self.places.clone(),
            matching: self.matching.clone(),
            counts: self.counts.clone(),
            tokenizers: self.tokenizers.clone(),
            names,
            max_entry_bytes: self.max_entry_bytes,
            similarity_header: config.similarity_header,
            show_text: config.show_text,
            wants_a_model: self.wants_a_model,
            refreshing: self.refreshing.clone(),
            uses: self.uses.clone(),
        }))
    }

    /// Whether anything at all is kept.
    pub fn is_on(&self) -> bool {
        !self.rules.are_off()
    }

    /// Whether questions are matched by their meaning: not yet, while the model is being read.
    pub fn has_meaning(&self) -> bool {
        self.matching.meaning().is_some()
    }

    /// How busy the model is, where there is one.
    pub fn embedder(&self, window: Window) -> Option<Busy> {
        Some(self.matching.meaning()?.busy(window))
    }

    /// How long reads of kept answers from disk have taken lately.
    pub fn disk_took(&self, window: Window) -> Option<Summary> {
        self.places.disk_took(window)
    }

    /// Why nothing is matched by meaning, once that is known.
    pub fn without_meaning(&self) -> Option<&str> {
        self.matching.without_meaning()
    }

    /// Whether a model was named.
    pub fn wants_a_model(&self) -> bool {
        self.wants_a_model
    }

    pub async fn run(&self) {
        self.places.clone().run().await;
    }

    /// The end of the process: what is still to be written is written.
    pub async fn finish(&self) {
        self.places.finish().await;
        if let Some(meaning) = self.matching.meaning().cloned() {
            // A process that ends takes the model's library down, whoever is still in it.
            let _ = tokio::task::spawn_blocking(move || meaning.stop()).await;
        }
    }

    /// Looks for a kept answer, in the order of what it costs.
    pub(super) async fn search(&self, question: &Question<'_>) -> Search {
        if let Some(entry) = self.places.get(&question.id)
            && let Some(found) = self.settle(question, (entry, Place::Memory), Tier::Exact, None)
        {
            return Search { found: Some(found), matched: None, miss: Miss::Stale };
        }
        let mut matched = self.text(question);
        let (found, miss) = match self.search_further(question, matched.as_mut()).await {
            Ok(found) => (Some(found), Miss::Stale),
            Err(miss) => (None, miss),
        };
        Search { found, matched: Some(matched), miss }
    }

    pub(super) fn text(&self, question: &Question<'_>) -> Option<Matched> {
        question::text(question.ask).map(Matched::new)
    }

    /// Looks beyond this process's memory, and beyond the very words.
    async fn search_further(
        &self,
        question: &Question<'_>,
        matched: Option<&mut Matched>,
    ) -> Result<(Found, Use), Miss> {
        let scope = matched.as_ref().map_or_else(|| question::alone(&question.id), |matched| matched.text.scope);
        if let Some(found) = self.places.fetch(&question.id, &scope).await
            && let Some(found) = self.settle(question, found, Tier::Exact, None)
        {
            return Ok(found);
        }
        let matched = matched.filter(|_| question.rule.mode != Mode::Exact).ok_or(Miss::ExactOnly)?;
        self.places.enter(&scope).await;
        if let Some(id) = self.matching.same(matched)
            && let Some(found) = self.bring(&id, &scope, matched).await
            && let Some(found) = self.settle(question, found, Tier::Canonical, None)
        {
            return Ok(found);
        }
        let near = self.matching.like(matched, question.rule.threshold).await?;
        let found = self.bring(&near.id, &scope, matched).await.ok_or(Miss::Gone)?;
        self.settle(question, found, Tier::Semantic, Some(near.similarity)).ok_or(Miss::Gone)
    }

    async fn bring(&self, id: &Id, scope: &Scope, matched: &Matched) -> Option<(Arc<Entry>, Place)> {
        if let Some(entry) = self.places.get(id) {
            return Some((entry, Place::Memory));
        }
        let fetched = self.places.fetch(id, scope).await;
        if fetched.is_none() {
            self.matching.forget(matched, id);
        }
        fetched
    }

    /// What was found, and what it is good for, unless it is of no use at all.
    fn settle(
        &self,
        question: &Question<'_>,
        (entry, place): (Arc<Entry>, Place),
        tier: Tier,
        similarity: Option<f32>,
    ) -> Option<(Found, Use)> {
        // Once more, whatever the places say: nothing of one tenant reaches another.
        if entry.tenant != question.ask.tenant || entry.route != question.ask.route {
            return None;
        }
        let good_for = self.good_for(question, &entry);
        (good_for != Use::None).then_some((Found { entry, place, tier, similarity }, good_for))
    }

    fn good_for(&self, question: &Question<'_>, entry: &Entry) -> Use {
        let (age, wishes, rule) = (entry.age(question.now), &question.wishes, question.rule);
        let fresh = self.freshness(entry, rule);
        let stale_for = age.saturating_sub(fresh);
        let young = wishes.max_age.is_none_or(|most| age <= most);
        let lasts = wishes.min_fresh.is_none_or(|least| fresh.saturating_sub(age) >= least);
        if age < fresh && young && lasts {
            return Use::Fresh;
        }
        let may_be_stale = young && wishes.min_fresh.is_none();
        let revalidate = wishes.stale_while_revalidate.unwrap_or(rule.while_revalidate);
        let if_error = wishes.stale_if_error.unwrap_or(rule.if_error);
        if may_be_stale && wishes.max_stale.is_some_and(|most| stale_for <= most) {
            Use::Stale
        } else if may_be_stale && stale_for < revalidate {
            Use::Refresh
        } else if stale_for < if_error {
            Use::IfError
        } else {
            Use::None
        }
    }

    /// How long an answer is fresh: longer than at first if it is used, and that is wanted.
    pub(super) fn freshness(&self, entry: &Entry, rule: &Rule) -> Duration {
        if rule.max_ttl <= entry.fresh {
            return entry.fresh;
        }
        let uses = self.uses.of(&entry.id);
        entry.fresh.saturating_mul(uses.saturating_add(1)).min(rule.max_ttl)
    }

    pub(super) fn used(&self, entry: &Entry, rule: &Rule) {
        if rule.max_ttl > entry.fresh {
            self.uses.count(&entry.id);
        }
    }

    /// Keeps an answer: before its asker has its end, the same question is answered by it.
    pub(super) fn keep(&self, entry: Entry, matched: Option<Matched>) {
        let (id, until, era) = (entry.id, entry.until(), entry.era);
        self.places.put(Arc::new(entry));
        self.counts.kept();
        if let Some(matched) = matched {
            let places = self.places.clone();
            self.matching.remember(id, matched, until, era, move |hint| places.learn(hint));
        }
    }
}

/// Reads the model on a thread of its own. One that cannot be had is no reason not to serve.
fn open_meaning(config: &Config, rules: &Rules, matching: &Arc<Matching>, meter: &Meter) {
    let Some(settings) = config.model_path.clone().map(|model| config.meaning(model)) else {
        return matching.open(Err("no semantic_cache.model_path is set".to_owned()));
    };
    if !rules.want_meaning() {
        return matching.open(Err("no mode is `on` or `shadow`".to_owned()));
    }
    let (opening, meter) = (matching.clone(), meter.clone());
    let open = move || match Meaning::open(&settings) {
        Ok(meaning) => {
            meters::observe(&meter, &meaning);
            opening.open(Ok(meaning));
        }
        Err(error) => {
            tracing::warn!(%error, "questions are matched by their words, and not by their meaning");
            opening.open(Err(error.to_string()));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("model".to_owned()).spawn(open) {
        matching.open(Err(error.to_string()));
    }
}

impl Config {
    fn meaning(&self, model: PathBuf) -> meaning::Settings {
        meaning::Settings {
            model: Some(model),
            runtime: self.runtime_path.clone(),
            gate: self.gate_path.clone(),
            threshold: self.threshold,
            gate_threshold: self.gate_threshold,
            sessions: self.sessions,
            queue: self.queue,
            batch: self.batch,
            deadline: Duration::from_millis(self.deadline_ms),
            languages: self.languages.clone(),
            max_entries: self.max_entries,
        }
    }
}

/// How often answers were used, for those that stay fresh by it. Bounded: when full, all begin anew.
#[derive(Default)]
struct Uses(DashMap<Id, AtomicU32>);

const MOST_USES: usize = 100_000;

impl Uses {
    fn of(&self, id: &Id) -> u32 {
        self.0.get(id).map_or(0, |uses| uses.load(Ordering::Relaxed))
    }

    fn count(&self, id: &Id) {
        if self.0.len() >= MOST_USES {
            self.0.clear();
        }
        self.0.entry(*id).or_default().fetch_add(1, Ordering::Relaxed);
    }
}
