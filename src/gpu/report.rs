//! How the cards stand, for `/healthz`, `/api/gpu/status` and the log.

use std::time::Duration;

use outrigger_filters::breaker::Fleet;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::card::Card;
use super::{Gpu, Seen, State};
use crate::config::Mode;

/// All of it in a word, and why.
pub struct Status {
    /// `off`, `ok` or `degraded`.
    pub word: &'static str,
    pub reason: Option<String>,
    /// Whether some driver was not asked yet: more is known soon.
    pub is_new: bool,
    /// Whole cards that are read.
    pub cards: usize,
}

impl Gpu {
    pub fn status(&self, now: Instant) -> Status {
        let seen = self.seen();
        let cards = seen.iter().flat_map(|seen| seen.cards.iter()).filter(|card| card.is.instance.is_none()).count();
        let is_new = seen.iter().any(|seen| seen.state == State::New);
        let status = |word, reason| Status { word, reason, is_new: false, cards };
        if let Some(why) = seen.iter().find_map(|seen| self.complaint(seen, now)) {
            return status("degraded", Some(why));
        }
        if is_new {
            return Status { is_new, ..status("ok", Some("it is being read".to_owned())) };
        }
        if seen.iter().any(|seen| seen.state == State::Well) {
            return status("ok", None);
        }
        let why = seen.iter().filter_map(|seen| match &seen.state {
            State::Off(why) => Some(why.as_str()),
            _ => None,
        });
        let why = why.collect::<Vec<_>>().join("; ");
        status("off", Some(if self.config.mode == Mode::Off { "gpu.mode is off".to_owned() } else { why }))
    }

    /// What is wrong with a vendor's cards, if anything is.
    fn complaint(&self, seen: &Seen, now: Instant) -> Option<String> {
        let vendor = seen.vendor.name();
        if seen.is_stale(now, self.config.fresh_for()) {
            let age = seen.looking_for(now).as_secs_f64();
            return Some(format!("{vendor}: the driver has not answered for {age:.1} s"));
        }
        if let State::Failing(why) = &seen.state {
            return Some(format!("{vendor}: {why}"));
        }
        let ill = seen.cards.iter().find_map(|card| Some((card, card.problem.as_ref()?)));
        ill.map(|(card, problem)| format!("{}: {problem}", card.device))
    }

    /// The part of `/healthz`.
    pub fn health(&self) -> Value {
        let status = self.status(Instant::now());
        let mut health = json!({ "status": status.word });
        if let Some(reason) = status.reason {
            health["reason"] = reason.into();
        }
        if status.word != "off" {
            health["cards"] = status.cards.into();
        }
        health
    }

    /// What `GET /api/gpu/status` answers.
    pub fn report(&self, fleet: &Fleet) -> Value {
        let (now, seen) = (Instant::now(), self.seen());
        let status = self.status(now);
        let devices: Vec<_> =
            seen.iter().flat_map(|seen| seen.cards.iter().map(|card| self.device(seen, card, now))).collect();
        json!({
            "status": status.word,
            "reason": status.reason,
            "when_critical": self.config.when_critical.name(),
            "critical_from": { "memory_share": self.config.memory_share, "temperature_c": self.config.temperature_c },
            "drivers": seen.iter().map(|seen| self.driver(seen, now)).collect::<Vec<_>>(),
            "devices": devices,
            "backends": self.backends.iter().map(|(backend, _)| {
                let pressure = fleet.named(backend).map(|member| member.pressure().name());
                json!({ "name": backend, "pressure": pressure })
            }).collect::<Vec<_>>(),
        })
    }

    fn driver(&self, seen: &Seen, now: Instant) -> Value {
        let (state, reason) = match &seen.state {
            State::New => ("new", None),
            State::Off(why) => ("off", Some(why)),
            State::Well => ("ok", None),
            State::Failing(why) => ("failing", Some(why)),
        };
        json!({
            "vendor": seen.vendor.name(),
            "state": state,
            "reason": reason,
            "driver_version": seen.versions.driver,
            "library_version": seen.versions.library,
            "age_ms": millis(seen.age(now)),
            "read_ms": seen.took.as_secs_f64() * 1e3,
            "stale": seen.is_stale(now, self.config.fresh_for()),
        })
    }

    fn device(&self, seen: &Seen, card: &Card, now: Instant) -> Value {
        let mut told = json!(card);
        if let Some(share) = card.memory_share() {
            told["memory_share"] = share.into();
        }
        let critical = self.judge().of(card);
        told["critical"] = critical.map_or(Value::Null, |critical| {
            json!({
                "cause": critical.cause.name(),
                "for_ms": millis(now.saturating_duration_since(critical.since)),
                "at_least_for_ms": millis(critical.until.saturating_duration_since(now)),
            })
        });
        told["age_ms"] = millis(seen.age(now)).into();
        told["stale"] = seen.is_stale(now, self.config.fresh_for()).into();
        told
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
