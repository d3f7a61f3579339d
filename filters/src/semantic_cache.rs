//! Kept answers: the same question again, then one that means the same. Never another tenant's, never half of one.
//!
//! A question is looked for by its exact name in memory, on disk and in Redis, then by its text in canonical
//! spelling, then by its meaning, and only within its scope: everything but the last text of the user must be equal.
//! What is kept is a complete answer, put into memory before its asker has its end. It stands above the breaker, so
//! that an outage is answered with what is known; and above cost, so that what it saves is not paid for.

pub mod cache;
pub mod config;
pub mod convert;
pub mod counts;
mod ended;
pub mod entry;
mod handover;
mod headers;
mod matching;
pub mod meaning;
mod meters;
pub mod places;
mod question;
mod record;
mod replay;
pub mod report;
mod shadow;
pub mod steering;

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;

use tokio::time::Instant;

pub use cache::Cache;
use cache::{Found, Question, Search, Use};
use config::Rule;
pub use config::{Config, Mode};
use counts::{Bypass, Miss};
use matching::Matched;
use record::Draft;
use steering::Wishes;

use crate::ask::Route;
use crate::charge::{self, Charge, Charged, Saver, Savings, Source};
use crate::refusal::no_retry;
use crate::usage::Tokens;
use crate::{Ask, Fault, Filter, Next, Reason, Refusal, Reply};

pub struct SemanticCache {
    cache: Arc<Cache>,
    savings: Arc<dyn Savings>,
}

impl SemanticCache {
    pub fn new(cache: Arc<Cache>, savings: Arc<dyn Savings>) -> Self {
        SemanticCache { cache, savings }
    }
}

#[async_trait]
impl Filter for SemanticCache {
    fn name(&self) -> &'static str {
        "semantic_cache"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        let cache = &self.cache;
        let rule = cache.rules.of(&ask);
        let wishes = Wishes::of(ask.steering());
        if let Some(why) = bypass(&ask, rule, &wishes) {
            cache.counts.bypass(why);
            if wishes.only_if_cached {
                return Err(not_kept());
            }
            let mut reply = next.run(ask).await?;
            headers::bypassed(&mut reply.headers, why);
            return Ok(reply);
        }
        let question = Question { id: question::id(&ask), now: entry::now(), ask: &ask, rule, wishes };
        self.answer(&question, next).await
    }
}

/// Why a question has nothing to do with kept answers, if that is so.
fn bypass(ask: &Ask, rule: &Rule, wishes: &Wishes) -> Option<Bypass> {
    let question = &ask.question;
    let wants_variety = question.temperature.is_some_and(|temperature| temperature > rule.max_temperature);
    if rule.mode == Mode::Off {
        Some(Bypass::Off)
    } else if wishes.no_store {
        Some(Bypass::NoStore)
    } else if question.choices.is_some_and(|choices| choices > 1) {
        Some(Bypass::SeveralAnswers)
    } else if question.stateful {
        Some(Bypass::Stateful)
    } else if wants_variety && ask.route != Route::Embeddings && !question.seeded && !wishes.welcome_kept() {
        Some(Bypass::Sampled)
    } else {
        None
    }
}

impl SemanticCache {
    async fn answer(&self, question: &Question<'_>, next: Next) -> Result<Reply, Refusal> {
        let cache = &self.cache;
        let (mut spare, mut would) = (None, None);
        let mut search = Search { found: None, matched: None, miss: Miss::Steered };
        if !question.wishes.no_cache || question.wishes.stale_if_error.is_some() {
            search = cache.search(question).await;
        }
        let Search { found, matched, mut miss } = search;
        match found {
            Some((found, _)) if self.is_shadowed(question, &found) => {
                miss = Miss::Shadow;
                would = Some(found.entry);
            }
            Some((found, good_for)) if question.wishes.no_cache || good_for == Use::IfError => spare = Some(found),
            Some((found, good_for)) => match self.serve(question, &found, good_for != Use::Fresh) {
                Some(reply) if good_for == Use::Refresh => {
                    self.refresh(question, matched, next);
                    return Ok(reply);
                }
                Some(reply) => return Ok(reply),
                None => miss = Miss::Gone,
            },
            None => {}
        }
        cache.counts.miss(miss);
        if question.wishes.only_if_cached {
            return Err(not_kept());
        }
        self.ask_on(question, matched, spare, would, next).await
    }

    /// Whether an answer to a like question is only to be counted.
    fn is_shadowed(&self, question: &Question<'_>, found: &Found) -> bool {
        question.rule.mode == Mode::Shadow && found.similarity.is_some()
    }

    /// Asks the rooms below, and keeps the answer as it goes by.
    async fn ask_on(
        &self,
        question: &Question<'_>,
        matched: Option<Option<Matched>>,
        spare: Option<Found>,
        would: Option<Arc<entry::Entry>>,
        next: Next,
    ) -> Result<Reply, Refusal> {
        let draft = self.draft(question, matched);
        let outcome = next.run(question.ask.clone()).await;
        if let Some(found) = &spare
            && has_failed(&outcome)
            && let Some(reply) = self.serve(question, found, true)
        {
            return Ok(reply);
        }
        let mut reply = outcome?;
        if let Some(entry) = would {
            reply = shadow::compare(&self.cache, question.ask, entry, reply);
        }
        let mut reply = draft.record(reply);
        headers::missed(&mut reply.headers, question, spare.is_some());
        Ok(reply)
    }

    fn draft(&self, question: &Question<'_>, matched: Option<Option<Matched>>) -> Draft {
        let matched = matched.unwrap_or_else(|| self.cache.text(question));
        let scope = matched.as_ref().map_or_else(|| question::alone(&question.id), |matched| matched.text.scope);
        Draft {
            cache: self.cache.clone(),
            ask: question.ask.clone(),
            id: question.id,
            scope,
            tags: question.wishes.tags.clone(),
            rule: question.rule.clone(),
            matched,
            era: self.cache.places.era(),
            begun: Instant::now(),
        }
    }

    /// The kept answer as a reply, if it can be had in the form that was asked for.
    fn serve(&self, question: &Question<'_>, found: &Found, stale: bool) -> Option<Reply> {
        let cache = &self.cache;
        let mut reply = replay::reply(&found.entry, question.ask)?;
        let made = &found.entry.made;
        cache.counts.hit(found.tier, found.place, stale, made);
        let tokens = Tokens {
            input: made.input_tokens.unwrap_or(0),
            output: made.output_tokens.unwrap_or(0),
            ..Tokens::default()
        };
        self.savings.saved(Saver::Cache, question.ask, &tokens, 1);
        reply.headers.insert(charge::HEADER, HeaderValue::from_static("0"));
        reply.charge = Some(Charge::known(Charged { tokens, cost: None, source: Source::Measured }));
        cache.used(&found.entry, question.rule);
        headers::kept(&mut reply.headers, cache, question, found, stale);
        Some(reply)
    }

    /// Makes an answer anew behind the one that was given, once for all who ask meanwhile.
    fn refresh(&self, question: &Question<'_>, matched: Option<Option<Matched>>, next: Next) {
        if !self.cache.refreshing.insert(question.id) {
            return;
        }
        let refreshing = Refreshing { cache: self.cache.clone(), id: question.id };
        let (draft, ask) = (self.draft(question, matched), question.ask.clone());
        #[expect(clippy::disallowed_methods, reason = "a flight of its own, which ends with its answer")]
        tokio::spawn(async move {
            let _refreshing = refreshing;
            if let Ok(reply) = next.run(ask).await {
                shadow::read_out(draft.record(reply)).await;
            }
        });
    }
}

/// An answer that is being made anew; not any more when this is dropped.
struct Refreshing {
    cache: Arc<Cache>,
    id: entry::Id,
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.cache.refreshing.remove(&self.id);
    }
}

/// Nothing kept will do. To ask again would not change it.
fn not_kept() -> Refusal {
    let mut refusal = Refusal::from(Reason::NotKept);
    no_retry(refusal.headers_mut());
    refusal
}

/// Whether the backend is at fault: RFC 5861, section 4.
fn has_failed(outcome: &Result<Reply, Refusal>) -> bool {
    match outcome {
        Ok(reply) => matches!(reply.status.as_u16(), 500 | 502 | 503 | 504),
        Err(refusal) => refusal.reason.fault() != Fault::Client,
    }
}

#[cfg(test)]
mod tests;
