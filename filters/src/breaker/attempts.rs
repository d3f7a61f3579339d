//! Asks backends for one answer, one after the other where that helps and the budget pays for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use http::HeaderValue;
use tokio::time::{Instant, sleep};

use super::admission;
use super::choice::{Chosen, Nowhere, Seeker, remaining};
use super::fleet::Fleet;
use super::gate::Outcome;
use super::lane::Obstacle;
use super::pool::{Degraded, Plan};
use super::verdict::{self, Verdict};
use super::watching::{Held, Watching};
use super::wishes::Wishes;
use crate::reply::{Body, degraded};
use crate::{Ask, Call, Deadlines, Next, Reason, Refusal, Reply, refusal};

/// How many times a backend was called for one answer, if more than once.
const ATTEMPTS: &str = "x-outrigger-attempts";

type Answer = Result<Reply, Refusal>;

/// One request on its way to a backend.
pub struct Attempts<'room> {
    fleet: &'room Arc<Fleet>,
    plan: Arc<Plan>,
    ask: Arc<Ask>,
    wishes: Wishes,
    next: Next,
    begun: Instant,
    /// The backends that were asked already.
    tried: Vec<usize>,
    calls: u32,
    repeats: u32,
}

/// An answer that is not good enough to be given, if there is hope for another.
struct Failed {
    answer: Answer,
    verdict: Verdict,
    made: Made,
}

impl<'room> Attempts<'room> {
    pub fn new(fleet: &'room Arc<Fleet>, plan: Arc<Plan>, ask: Arc<Ask>, wishes: Wishes, next: Next) -> Self {
        let begun = Instant::now();
        Attempts { fleet, plan, ask, wishes, next, begun, tried: Vec::new(), calls: 0, repeats: 0 }
    }

    pub async fn run(mut self) -> Answer {
        let mut failed: Option<Failed> = None;
        loop {
            let chosen = match (self.find(failed.as_ref().map(|failed| failed.verdict.outcome)).await, failed.take()) {
                (Ok(chosen), _) => chosen,
                (Err(_), Some(failed)) => return self.give_up(failed),
                (Err(nowhere), None) => return Err(self.refuse(nowhere)),
            };
            match self.ask_one(chosen).await {
                Ok(reply) => return Ok(reply),
                Err(again) => {
                    let wait = match self.wait_before_another(&again) {
                        Some(wait) => wait,
                        None => return self.give_up(again),
                    };
                    if !self.fleet.budget.withdraw() {
                        self.fleet.meters.budget_spent.fetch_add(1, Ordering::Relaxed);
                        let mut answer = self.give_up(again);
                        refusal::no_retry(match &mut answer {
                            Ok(reply) => &mut reply.headers,
                            Err(refusal) => refusal.headers_mut(),
                        });
                        return answer;
                    }
                    self.fleet.meters.retries.fetch_add(1, Ordering::Relaxed);
                    self.repeats += 1;
                    sleep(wait).await;
                    failed = Some(again);
                }
            }
        }
    }

    fn until(&self) -> Option<Instant> {
        Some(self.begun + self.wishes.patience(self.ask.question.stream)?)
    }

    fn seeker(&self) -> Seeker<'_> {
        let Attempts { fleet, plan, ask, wishes, .. } = self;
        Seeker { fleet, plan, ask, wishes, until: self.until() }
    }

    /// A backend that was not asked yet, or if there is none, any.
    async fn find(&self, failed: Option<Outcome>) -> Result<Chosen, Nowhere> {
        match (self.seeker().find(&self.tried).await, failed) {
            (Err(_), Some(outcome)) if outcome != Outcome::Unauthorized => self.seeker().find(&[]).await,
            (found, _) => found,
        }
    }

    /// How long to wait before another call, if there is to be one.
    fn wait_before_another(&self, failed: &Failed) -> Option<Duration> {
        if !failed.verdict.may_repeat || self.repeats >= self.plan.terms.retries {
            return None;
        }
        let now = Instant::now();
        let pools = || self.plan.stages.iter().map(|stage| &stage.pool);
        let wait = if pools().any(|pool| !pool.usable(&self.ask.tenant, &self.tried, now).is_empty()) {
            Duration::ZERO
        } else if failed.verdict.outcome == Outcome::Unauthorized {
            return None;
        } else {
            let soonest = pools().filter_map(|pool| pool.soonest(&self.ask.tenant, now)).min()?;
            self.backoff().max(soonest.saturating_duration_since(now))
        };
        let most = Duration::from_millis(self.fleet.room.max_retry_wait_ms);
        let in_time = self.until().is_none_or(|until| now + wait < until);
        (wait <= most && in_time).then_some(wait)
    }

    /// Twice as long each time, a quarter more or less: each is longer than the one before, whatever chance does.
    fn backoff(&self) -> Duration {
        let base = Duration::from_millis(self.fleet.room.retry_backoff_ms.get());
        base.saturating_mul(1 << self.repeats.min(16)).mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    /// Asks one backend; or two, where the first is late and hedging is on.
    async fn ask_one(&mut self, chosen: Chosen) -> Result<Reply, Failed> {
        let first = self.call(chosen);
        let Some(patience) = self.plan.hedge_after().filter(|_| self.ask.question.stream) else { return first.await };
        let late = match select(first, Box::pin(sleep(patience))).await {
            Either::Left((answer, _)) => return answer,
            Either::Right(((), first)) => first,
        };
        // Only where there is room at once: nobody reads the first one's answer meanwhile.
        let second = match self.seeker().find_now(&self.tried) {
            Some(chosen) if self.fleet.budget.withdraw() => self.call(chosen),
            _ => return late.await,
        };
        self.fleet.meters.hedges.fetch_add(1, Ordering::Relaxed);
        match select(late, second).await {
            Either::Left((Ok(reply), _)) => Ok(reply),
            Either::Right((Ok(reply), _)) => {
                self.fleet.meters.hedges_won.fetch_add(1, Ordering::Relaxed);
                Ok(reply)
            }
            // One has failed: what counts is the other.
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), late)) => late.await,
        }
    }

    /// Begins a call.
    fn call(&mut self, chosen: Chosen) -> BoxFuture<'static, Result<Reply, Failed>> {
        let Chosen { seat, mut ticket, slot, degraded } = chosen;
        if self.ask.question.stream {
            ticket.awaits_first_token();
        }
        let backend = seat.lane.member.index;
        if self.calls == 0 {
            self.fleet.budget.deposit();
        }
        self.calls += 1;
        if !self.tried.contains(&backend) {
            self.tried.push(backend);
        }
        if let Some(degraded) = degraded {
            self.fleet.meters.fell_back(degraded.name());
        }
        let renamed = seat.rename.as_ref().and_then(|name| self.ask.for_model(name));
        let ask = renamed.map_or_else(|| self.ask.clone(), Arc::new);
        let deadlines = self.deadlines();
        let class = admission::class(ask.body.len() as u64 / 4);
        let hurried = deadlines != self.plan.terms.deadlines;
        let held = Held { ticket, slot, plan: self.plan.clone(), class, hurried };
        let next = self.next.clone().with(Call { backend, deadlines, attempt: self.calls, ..Call::default() });
        finish(ask, next, held, Made { backend, calls: self.calls, degraded }).boxed()
    }

    /// What is left of the time that the settings and the client give.
    fn deadlines(&self) -> Deadlines {
        let mut deadlines = self.wishes.deadlines(self.plan.terms.deadlines);
        if let Some(until) = self.until() {
            const LEAST: Duration = Duration::from_millis(1);
            let left = until.saturating_duration_since(Instant::now()).max(LEAST);
            deadlines.first_token = deadlines.first_token.min(left);
            deadlines.whole = deadlines.whole.min(left);
            // What was waited comes off the whole of a stream, too, where the client has bounded that.
            deadlines.stream = deadlines.stream.saturating_sub(self.begun.elapsed()).max(LEAST);
        }
        deadlines
    }

    /// The last answer there was, as it is.
    fn give_up(&self, failed: Failed) -> Answer {
        let name = self.fleet.at(failed.made.backend).map_or("", |member| member.name());
        if failed.verdict.outcome == Outcome::Unauthorized {
            let status = failed.answer.as_ref().map_or(0, |reply| reply.status.as_u16());
            return Err(Refusal::because(Reason::BackendUnauthorized, format!("{name} answered {status} to our key")));
        }
        match failed.answer {
            Ok(reply) => Ok(Made { calls: self.calls, ..failed.made }.mark(reply)),
            Err(mut refusal) => {
                if self.calls > 1 {
                    refusal.headers_mut().insert(ATTEMPTS, self.calls.into());
                }
                Err(refusal)
            }
        }
    }

    /// Nobody was asked.
    fn refuse(&self, nowhere: Nowhere) -> Refusal {
        let (reason, why, wait) = match nowhere {
            Nowhere::Full(shed) => (Reason::Overloaded, shed.why.name(), shed.retry_after),
            Nowhere::Shut(obstacle @ Some(Obstacle::Pause(_))) => {
                (Reason::BackendPaused, "paused", remaining(obstacle, UNKNOWN_WAIT))
            }
            // Well, and with too much to do: that is no outage.
            Nowhere::Shut(obstacle @ Some(Obstacle::Pressure(_))) => {
                (Reason::Overloaded, "pressure", remaining(obstacle, UNKNOWN_WAIT))
            }
            Nowhere::Shut(obstacle) => {
                let why = match obstacle {
                    Some(Obstacle::Operator) => "operator",
                    Some(Obstacle::Unhealthy) => "unhealthy",
                    _ => "open",
                };
                (Reason::Unavailable, why, remaining(obstacle, UNKNOWN_WAIT))
            }
        };
        self.fleet.meters.refused(why);
        let mut refused = Refusal::because(reason, why);
        refusal::retry_after(refused.headers_mut(), wait.max(Duration::from_millis(1)));
        refused
    }
}

/// When to come again where nobody knows when it will be better.
const UNKNOWN_WAIT: Duration = Duration::from_secs(5);

/// How a call came to be.
#[derive(Clone, Copy)]
struct Made {
    backend: usize,
    calls: u32,
    degraded: Option<Degraded>,
}

/// Makes the call, and says of it what its beginning shows. A stream is watched to its end.
async fn finish(ask: Arc<Ask>, next: Next, held: Held, made: Made) -> Result<Reply, Failed> {
    let answer = next.run(ask.clone()).await;
    let lane = held.ticket.lane.clone();
    let answer = match answer {
        Ok(stream) if verdict::is_judged_by_its_end(&answer) => return Ok(made.mark(watched(stream, held, &ask))),
        answer => answer,
    };
    let mut verdict = verdict::judge(&answer, lane.member.config.own_key);
    if let Err(Refusal { reason: Reason::FirstTokenTimeout | Reason::AnswerTimeout, .. }) = &answer {
        verdict.outcome = held.late();
    }
    lane.pause(&verdict, ask.tenant, Instant::now());
    held.finished(verdict.outcome, answer.as_ref().map_or(0, length));
    match (answer, verdict.outcome) {
        (Ok(reply), Outcome::Good) => Ok(made.mark(reply)),
        (answer, _) => Err(Failed { answer, verdict, made }),
    }
}

fn watched(reply: Reply, held: Held, ask: &Ask) -> Reply {
    let streams = ask.question.stream;
    reply.watched(Box::new(Watching { held, streams, seen: false, told: None }))
}

fn length(reply: &Reply) -> usize {
    match &reply.body {
        Body::Whole(body) => body.len(),
        Body::Events(_) => 0,
    }
}

impl Made {
    /// Says on an answer how it came to be.
    fn mark(self, mut reply: Reply) -> Reply {
        if self.calls > 1 {
            reply.headers.insert(ATTEMPTS, self.calls.into());
        }
        if let Some(how) = self.degraded {
            reply.headers.insert(degraded::HEADER, HeaderValue::from_static(how.name()));
        }
        reply
    }
}
