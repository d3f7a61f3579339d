//! How the backends stand, for people and for `/healthz`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::gate::{Phase, Standing};
use super::lane::Lane;
use super::member::{Member, Override};

impl Fleet {
    /// All backends, or the one with this name.
    pub fn report(&self, name: Option<&str>) -> Option<Value> {
        match name {
            Some(name) => self.named(name).map(|member| member.report()),
            None => Some(json!({
                "backends": self.members.iter().map(|member| member.report()).collect::<Vec<_>>(),
                "retry_budget": { "remaining": self.budget.remaining() },
            })),
        }
    }

    /// For `/healthz`: ok if all is well, degraded if something is not, unhealthy if nobody can be asked anything.
    pub fn health(&self) -> Value {
        let states: Vec<_> = self.members.iter().map(|member| (member.name(), member.state())).collect();
        let well = states.iter().all(|(_, (state, _))| matches!(*state, "closed" | "forced_closed"));
        let any = self.members.iter().any(|member| member.is_welcome() && member.can_be_asked());
        let status = match (any, well) {
            (false, _) => "unhealthy",
            (_, false) => "degraded",
            _ => "ok",
        };
        let told =
            states.into_iter().map(|(name, (state, why))| (name.to_owned(), json!({ "state": state, "why": why })));
        json!({ "status": status, "backends": told.collect::<serde_json::Map<_, _>>() })
    }
}

impl Member {
    /// In a word, and why.
    fn state(self: &Arc<Self>) -> (&'static str, &'static str) {
        let order = self.order();
        if order != Override::Auto {
            return (order.name(), "operator");
        }
        if !self.is_healthy() {
            return ("unhealthy", "health_check");
        }
        let now = Instant::now();
        if self.pressed.shed_until(now).is_some() {
            return ("shed", "pressure");
        }
        let standings =
            self.lanes().into_iter().map(|lane| (lane.known.cooling.for_all(now).is_some(), lane.gate.standing(now)));
        let severity = |(paused, standing): &(bool, Standing)| match standing.phase {
            Phase::Open => 3,
            Phase::HalfOpen => 2,
            Phase::Closed => u8::from(*paused),
        };
        match standings.max_by_key(severity) {
            None => ("closed", "start"),
            Some((true, Standing { phase: Phase::Closed, .. })) => ("paused", "retry_after"),
            Some((_, standing)) => (standing.phase.name(), standing.cause.name()),
        }
    }

    fn report(self: &Arc<Self>) -> Value {
        let (state, why) = self.state();
        let (quantiles, room) = (self.first_tokens.quantiles(), self.admission.report());
        let lanes = self.lanes();
        json!({
            "name": self.name(),
            "state": state,
            "why": why,
            "override": self.order().name(),
            "pressure": self.pressure().name(),
            "tier": self.config.tier,
            "weight": self.config.weight,
            "in_flight": self.in_flight.load(Ordering::Relaxed),
            "admission": room,
            "first_token_ms": {
                "count": quantiles.count,
                "p50": millis(quantiles.p50),
                "p95": millis(quantiles.p95),
                "p99": millis(quantiles.p99),
            },
            "stalls": self.stalls.load(Ordering::Relaxed),
            "health_check": self.health_report(),
            "engine": self.engine_report(),
            "models": lanes.iter().map(|lane| lane.report()).collect::<Vec<_>>(),
        })
    }

    fn health_report(&self) -> Value {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (&self.config.health_path, health.last) {
            (None, _) => json!({ "status": "off" }),
            (Some(path), None) => json!({ "status": "not asked yet", "path": path }),
            (Some(path), Some((at, outcome))) => json!({
                "status": if self.is_healthy() { "ok" } else { "failed" },
                "path": path,
                "last": date(at),
                "last_error": outcome.err().as_deref(),
                "failed_in_a_row": health.failed,
            }),
        }
    }

    fn engine_report(&self) -> Value {
        let engine = *self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.map_or(Value::Null, |(engine, at)| {
            json!({
                "running": engine.running,
                "waiting": engine.waiting,
                "kv_usage": engine.kv_usage,
                "kv_tokens": engine.kv_tokens,
                "at": date(at),
            })
        })
    }
}

impl Lane {
    fn report(&self) -> Value {
        let now = Instant::now();
        let standing = self.gate.standing(now);
        let paused = self.known.cooling.for_all(now);
        json!({
            "model": self.model,
            "state": standing.phase.name(),
            "why": standing.cause.name(),
            "since": date(standing.since),
            "next_probe_in_ms": standing.until.map(|until| millis(until.saturating_duration_since(now))),
            "paused_for_ms": paused.map(|until| millis(until.saturating_duration_since(now))),
            "paused_tenants": self.known.cooling.tenants(now),
            "window": {
                "good": standing.counts.good,
                "bad": standing.counts.bad,
                "first_tokens": standing.counts.first_tokens,
                "slow": standing.counts.slow,
                "failures_in_a_row": standing.run,
            },
        })
    }
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1000.0
}

/// The date of an instant that has been.
fn date(at: Instant) -> String {
    #[expect(clippy::disallowed_methods, reason = "a date is meant: people read it")]
    let now = SystemTime::now();
    humantime::format_rfc3339_millis(now - at.elapsed()).to_string()
}
