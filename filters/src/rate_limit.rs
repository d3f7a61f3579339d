//! The limit that is written down is the limit that holds: of requests, of tokens, and of requests in flight.
//!
//! Windows slide. A request fits all its limits or is charged to none. Tokens are reserved before the
//! backend is asked, the prompt's as counted and the answer's as bounded or expected, and settled when the answer
//! has ended, however it ended. Where several sidecars share a Redis, it decides, in one round trip; where it cannot
//! be asked, each sidecar goes on with its share.

pub mod guard;
pub mod handover;
mod headers;
mod ledger;
pub mod limit;
mod limiter;
mod log;
mod metrics;
mod permit;
pub mod remote;
mod renewal;
mod report;
mod rule;
mod share;
mod step;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;

use crate::ask::{Ask, Route, Tenant};
use crate::estimate::Estimates;
use crate::refusal::{self, RateLimited};
use crate::reply::{Body, Event, Kind, kept};
use crate::store::{Fault, Health};
use crate::tokens::Tokenizers;
use crate::usage::Tally;
use crate::{End, Filter, Next, Reason, Refusal, Reply, Watch};
pub use limit::Config;
pub use limiter::Limiter;
use limiter::{Denied, Verdict};
pub use permit::Permit;
use permit::Spent;
pub use rule::{Demand, Generation, Output};

pub struct RateLimit {
    limiter: Arc<Limiter>,
    tokenizers: Arc<Tokenizers>,
    estimates: Arc<Estimates>,
}

impl RateLimit {
    pub fn new(limiter: Arc<Limiter>, tokenizers: Arc<Tokenizers>) -> Self {
        RateLimit { limiter, tokenizers, estimates: Arc::default() }
    }

    /// The tokens that the answer may take, as far as anybody can know.
    fn output(&self, ask: &Ask, input: u64) -> Output {
        if ask.route == Route::Embeddings {
            return Output::Asked(0);
        }
        let choices = ask.question.choices.unwrap_or(1).max(1);
        match ask.question.max_tokens {
            Some(most) => Output::Asked(most.saturating_mul(choices)),
            None => {
                let expected = self.estimates.output(ask.question.model.as_deref(), input);
                Output::Expected(expected.saturating_mul(choices))
            }
        }
    }

    async fn generation<'ask>(&self, ask: &'ask Arc<Ask>) -> Generation<'ask> {
        let (model, user) = (ask.question.model.as_deref(), ask.question.user.as_deref());
        if !self.limiter.counts_tokens() {
            return Generation { model, user, input: 0, output: Output::Asked(0) };
        }
        let input = self.tokenizers.count_prompt(ask).await;
        Generation { model, user, input, output: self.output(ask, input) }
    }

    /// Lets the permit see the answer to its end.
    fn watch(&self, ask: &Arc<Ask>, mut permit: Permit, reply: Reply) -> Reply {
        if !permit.holds() {
            return reply;
        }
        if !reply.status.is_success() || kept::is_kept(&reply.headers) {
            permit.spent = Spent::default();
            // In flight it is until its end, whatever it is.
            if matches!(reply.body, Body::Whole(_)) {
                return reply;
            }
        }
        let tally = self.limiter.counts_tokens().then(|| Tally::of(ask, self.tokenizers.clone()));
        let tally = tally.filter(|_| permit.spent != Spent::default());
        let learns = reply.status.is_success().then(|| (self.estimates.clone(), ask.clone()));
        reply.watched(Box::new(Meter { permit, tally, learns }))
    }
}

#[async_trait]
impl Filter for RateLimit {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        let generation = self.generation(&ask).await;
        let demand = Demand { tenant: ask.tenant, generation: Some(generation), headers: &ask.marks };
        let mut permit = self.limiter.admit(&demand).await.map_err(|denied| self.limiter.refusal(&denied))?;
        // Who leaves before the answer has begun has had his prompt read.
        permit.spent = Spent { input: generation.input, output: 0 };
        let (verdicts, mode) = (std::mem::take(&mut permit.verdicts), permit.mode);
        match next.run(ask.clone()).await {
            Ok(reply) => {
                let mut reply = self.watch(&ask, permit, reply);
                headers::tell(&mut reply.headers, &self.limiter.rules, &verdicts, mode);
                Ok(reply)
            }
            Err(mut refusal) => {
                permit.spent = Spent::default();
                headers::tell(refusal.headers_mut(), &self.limiter.rules, &verdicts, mode);
                Err(refusal)
            }
        }
    }
}

/// Counts what an answer takes as it goes by, and settles it at its end.
struct Meter {
    permit: Permit,
    tally: Option<Tally>,
    /// Whose answers a whole one teaches about.
    learns: Option<(Arc<Estimates>, Arc<Ask>)>,
}

impl Meter {
    /// The backend's own word where there is one; a count of what went by otherwise.
    fn spent(&self) -> Option<Spent> {
        let tally = self.tally.as_ref()?;
        let usage = tally.usage();
        let input = usage.as_ref().and_then(|usage| usage.input).unwrap_or(self.permit.spent.input);
        let output = usage.as_ref().and_then(|usage| usage.output).unwrap_or_else(|| tally.output_so_far());
        Some(Spent { input, output })
    }
}

impl Watch for Meter {
    fn event(&mut self, event: &Event) {
        if let Some(tally) = &mut self.tally
            && event.kind != Kind::Comment
        {
            tally.event(event);
        }
    }

    fn end(mut self: Box<Self>, end: &End) {
        let Some(spent) = self.spent() else { return };
        self.permit.spent = spent;
        if let (End::Complete, Some((estimates, ask))) = (end, &self.learns) {
            let output = spent.output / ask.question.choices.unwrap_or(1).max(1);
            // One that its bound has cut off says nothing of how long it would have been.
            if ask.question.max_tokens.is_none_or(|most| output < most) {
                estimates.learn(ask.question.model.as_deref(), spent.input, output);
            }
        }
    }
}

impl Limiter {
    /// Admits a request that is passed on unread: it counts as a request, and as one in flight.
    ///
    /// # Errors
    /// The refusal that its client gets.
    pub async fn admit_passed(&self, tenant: Tenant, headers: &HeaderMap) -> Result<Permit, Refusal> {
        let demand = Demand { tenant, generation: None, headers };
        self.admit(&demand).await.map_err(|denied| self.refusal(&denied))
    }

    /// Replaces Redis's clock, in microseconds; 0 gives it back. For tests, as [`remote::Remote::set_clock`].
    pub fn set_clock(&self, now: remote::Micros) {
        if let Some(remote) = &self.remote {
            remote.set_clock(now);
        }
    }

    /// Tells on an answer where its request stood.
    pub fn tell(&self, permit: &Permit, headers: &mut HeaderMap) {
        headers::tell(headers, &self.rules, &permit.verdicts, permit.mode);
    }

    /// The end of the process: what is still to be told is told.
    pub async fn finish(&self) {
        if let Some(remote) = &self.remote {
            remote.finish().await;
        }
    }

    /// Whether Redis, if there is one, has been tried: before, nobody can say who shares the limits.
    pub fn is_settled(&self) -> bool {
        let Some(remote) = self.remote.as_ref().filter(|_| self.has_limits()) else { return true };
        match remote.store().health() {
            Health::Up => self.step.is_kept(remote.store()),
            Health::Down { reason, .. } => reason != Fault::NotTried,
        }
    }

    /// Whether requests are decided without the Redis that they should be decided by.
    pub fn is_degraded(&self) -> bool {
        self.has_limits() && self.remote.as_ref().is_some_and(|remote| !self.step.is_kept(remote.store()))
    }

    /// The sidecars that share the limits, as they were when all was last well.
    pub fn sidecars(&self) -> u32 {
        self.step.replicas().count
    }

    fn refusal(&self, denied: &Denied) -> Refusal {
        let mut told = HeaderMap::new();
        headers::tell(&mut told, &self.rules, &denied.verdicts, denied.mode);
        let unknown = denied.unknown.and_then(|rule| self.rules.get(rule));
        let reason = match (unknown, self.slowest(denied)) {
            (Some(rule), _) => {
                refusal::retry_after(&mut told, Duration::from_secs(1));
                Reason::LimitUnknown(rule.name.clone())
            }
            (None, Some(limited)) => {
                match limited.retry {
                    Some(wait) => refusal::retry_after(&mut told, wait),
                    None => refusal::no_retry(&mut told),
                }
                Reason::RateLimited(Box::new(limited))
            }
            (None, None) => Reason::Lost,
        };
        Refusal { headers: Some(Box::new(told)), ..reason.into() }
    }

    /// The limit that holds a request back longest: only when that one has room does it fit all.
    fn slowest(&self, denied: &Denied) -> Option<RateLimited> {
        let wait = |verdict: &&Verdict| verdict.standing.retry.unwrap_or(Duration::MAX);
        let verdict = denied.verdicts.iter().filter(|verdict| !verdict.standing.fits).max_by_key(wait)?;
        let rule = self.rules.get(verdict.rule)?;
        Some(RateLimited {
            limit: rule.name.clone(),
            unit: rule.unit.name(),
            counts: rule.unit.counts(),
            amount: verdict.amount,
            used: verdict.standing.used,
            requested: verdict.cost,
            retry: verdict.standing.retry,
        })
    }
}

#[cfg(test)]
mod tests;
