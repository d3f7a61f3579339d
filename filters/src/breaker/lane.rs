//! One backend and one of its models: the breaker, the pauses it asked for, and the calls that go through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;
use super::cooling::Cooling;
use super::gate::{Change, Gate, Outcome, Pass, Phase, Rules};
use super::member::{Member, Override};
use super::meters::Meters;
use super::pool::Pool;
use super::verdict::Verdict;
use crate::Tenant;

/// Under the settings of its member.
pub struct Lane {
    pub member: Arc<Member>,
    pub model: Box<str>,
    pub gate: Gate,
    pub known: Arc<Known>,
    most_pause: Duration,
}

/// What is known of a backend and model, whatever the settings.
pub struct Known {
    pub gate: Gate,
    pub cooling: Cooling,
    /// Whether it has opened and not closed again: so many of a pool may be out for a matter of degree at most.
    pub is_out: AtomicBool,
}

impl Known {
    pub fn new(model: &str, room: &Config) -> Self {
        let gate = Gate::new(Rules::of(model, room), Instant::now());
        Known { gate, cooling: Cooling::default(), is_out: AtomicBool::new(false) }
    }
}

impl Rules {
    fn of(model: &str, room: &Config) -> Self {
        let millis = |span: std::num::NonZeroU64| Duration::from_millis(span.get());
        Rules {
            consecutive_failures: room.consecutive_failures.get(),
            success_ratio: room.success_ratio.get(),
            min_requests: room.min_requests.get(),
            window: Duration::from_secs(room.window_secs.get()),
            slow_ttft: room.terms(model).slow_ttft,
            slow_ratio: room.slow_ratio.get(),
            open: millis(room.open_ms),
            max_open: millis(room.max_open_ms),
            probes: room.probes.get(),
            probe: millis(room.probe_ms),
        }
    }
}

impl Lane {
    pub fn new(member: Arc<Member>, model: &str, known: Arc<Known>) -> Self {
        let gate = known.gate.renewed(Rules::of(model, &member.room));
        let most_pause = Duration::from_millis(member.room.max_retry_after_ms.get());
        Lane { member, model: model.into(), gate, known, most_pause }
    }

    /// Why nobody, or not this tenant, is to ask here now; none where he may.
    pub fn obstacle(&self, tenant: &Tenant, now: Instant) -> Option<Obstacle> {
        match self.member.order() {
            Override::ForcedClosed => return None,
            Override::ForcedOpen | Override::Draining => return Some(Obstacle::Operator),
            Override::Auto => {}
        }
        if !self.member.is_healthy() {
            return Some(Obstacle::Unhealthy);
        }
        if let Some(until) = self.known.cooling.until(tenant, now) {
            return Some(Obstacle::Pause(until));
        }
        // It knows nothing of single models, so it stands for all of them.
        if let Some(until) = self.member.pressed.shed_until(now) {
            return Some(Obstacle::Pressure(until));
        }
        self.gate.shut_until(now).map(Obstacle::Open)
    }

    /// Obeys a Retry-After, up to the bound. What a client's own key brought about is that client's alone.
    pub fn pause(&self, verdict: &Verdict, tenant: Tenant, now: Instant) {
        let Some(pause) = verdict.pause.filter(|pause| !pause.is_zero()) else { return };
        let own = verdict.outcome == Outcome::Limited && !self.member.config.own_key;
        self.known.cooling.pause(own.then_some(tenant), pause.min(self.most_pause), now);
    }

    /// Tells of a change of the breaker's state, once.
    pub fn tell(&self, change: Option<Change>, meters: &Meters) {
        let Some(change) = change else { return };
        self.known.is_out.store(change.to != Phase::Closed, Ordering::Release);
        // Who waits for another model of this backend goes on waiting.
        if change.to == Phase::Open && self.member.has_one_lane() {
            self.member.admission.turn_away();
        }
        meters.changed(self, &change);
        let open_for_ms = change.open_for.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let (backend, model, cause) = (self.member.name(), &*self.model, change.cause.name());
        match change.to {
            Phase::Open => {
                tracing::warn!(backend, model, from = change.from.name(), cause, open_for_ms, "breaker opens")
            }
            to => tracing::info!(backend, model, from = change.from.name(), to = to.name(), cause, "breaker changes"),
        }
    }
}

/// What stands between a request and a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Operator,
    Unhealthy,
    /// The backend has asked to be left alone until then.
    Pause(Instant),
    /// Somebody who sees its machine says to ask it nothing until then.
    Pressure(Instant),
    /// Its breaker is open, or half-open with all its probes under way.
    Open(Instant),
}

impl Obstacle {
    pub const fn until(self) -> Option<Instant> {
        match self {
            Obstacle::Pause(until) | Obstacle::Pressure(until) | Obstacle::Open(until) => Some(until),
            Obstacle::Operator | Obstacle::Unhealthy => None,
        }
    }
}

/// A call that has been let in. Dropped unsettled it says nothing of the backend, and frees what it held.
pub struct Ticket {
    pub lane: Arc<Lane>,
    meters: Arc<Meters>,
    pool: Arc<Pool>,
    /// None for a call that the operator has let in past the breaker.
    pass: Option<Pass>,
    settled: bool,
    /// Whether it waits for a first token: how long it has says something even if nobody waits for the end.
    awaits: bool,
    begun: Instant,
}

impl Ticket {
    /// # Errors
    /// When to come again.
    pub fn take(lane: &Arc<Lane>, pool: &Arc<Pool>, meters: &Arc<Meters>) -> Result<Ticket, Obstacle> {
        let begun = Instant::now();
        let mut pass = None;
        let order = lane.member.order();
        if matches!(order, Override::ForcedOpen | Override::Draining) {
            return Err(Obstacle::Operator);
        }
        if order == Override::Auto {
            let (entered, change) = lane.gate.enter(begun);
            lane.tell(change, meters);
            pass = Some(entered.map_err(Obstacle::Open)?);
        }
        lane.member.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket {
            lane: lane.clone(),
            meters: meters.clone(),
            pool: pool.clone(),
            pass,
            settled: false,
            awaits: false,
            begun,
        })
    }

    pub fn is_probe(&self) -> bool {
        self.pass.as_ref().is_some_and(Pass::is_probe)
    }

    /// It is to answer token by token.
    pub fn awaits_first_token(&mut self) {
        self.awaits = true;
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    pub fn settle(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.settled, true) {
            self.lane.member.calls[outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
        if let Some(pass) = self.pass.take() {
            let may_eject = || self.pool.may_eject(&self.lane);
            let change = self.lane.gate.settle(pass, outcome, Instant::now(), may_eject);
            self.lane.tell(change, &self.meters);
        }
    }

    /// The first token has come.
    pub fn first_token(&mut self, took: Duration) {
        self.awaits = false;
        self.lane.member.first_tokens.record(took);
        if let Some(pass) = &self.pass {
            let may_eject = || self.pool.may_eject(&self.lane);
            let change = self.lane.gate.first_token(pass, took, Instant::now(), may_eject);
            self.lane.tell(change, &self.meters);
        }
    }

    /// A probe that has streamed for so long need not end before it counts.
    pub fn flows(&mut self) {
        if let Some(pass) = &self.pass
            && self.lane.gate.is_ripe(pass, self.begun, Instant::now())
        {
            self.settle(Outcome::Good);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.awaits && !self.settled {
            self.lane.member.first_tokens.waited(self.begun.elapsed());
        }
        self.settle(Outcome::Neutral);
        self.lane.member.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
