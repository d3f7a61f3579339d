//! Tells of the cards what somebody must know: in the log, as events, and to who chooses between backends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outrigger_filters::breaker::Pressure;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::json;
use tokio::time::Instant;

use super::card::{Card, Xid};
use super::judge::Change;
use super::report::Status;
use super::{Gpu, counts};
use crate::config::{WhenCritical, Which};
use crate::events::Events;
use crate::serving::Current;

/// How often it looks at least: so often, too, a pressure is renewed.
const OFTEN: Duration = Duration::from_secs(1);

pub struct Watching {
    pub gpu: Arc<Gpu>,
    pub current: Arc<Current>,
    pub events: Arc<Events>,
}

/// What was told last.
#[derive(Default)]
struct Told {
    status: Option<&'static str>,
    /// The errors that a card has had.
    xids: BTreeMap<String, u64>,
}

#[async_trait]
impl BackgroundService for Watching {
    /// Never told to stop: requests in flight go on choosing.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut told = Told::default();
        let mut ticks = tokio::time::interval(self.gpu.config.interval_ms.duration().min(OFTEN));
        loop {
            ticks.tick().await;
            self.look(&mut told);
        }
    }
}

impl Watching {
    fn look(&self, told: &mut Told) {
        let now = Instant::now();
        self.tell_status(told, &self.gpu.status(now));
        let cards = self.gpu.fresh();
        cards.iter().for_each(|card| self.tell_xid(told, card));
        let changes = self.gpu.judge().look(now, &cards);
        for change in changes {
            tell_change(&self.events, &change, &cards);
        }
        if self.gpu.config.when_critical != WhenCritical::Ignore {
            self.press(now, &cards);
        }
    }

    /// Once for each change: a driver that fails again and again in the same way is told of once.
    fn tell_status(&self, told: &mut Told, status: &Status) {
        if status.is_new || told.status == Some(status.word) {
            return;
        }
        let (was, reason) = (told.status.replace(status.word), status.reason.as_deref());
        match (status.word, was) {
            ("degraded", _) => tracing::warn!(reason, "GPUs cannot be read as they should"),
            ("ok", Some("degraded")) => tracing::info!(cards = status.cards, "GPUs are read again"),
            ("ok", _) => tracing::info!(cards = status.cards, "GPUs are read"),
            _ => tracing::info!(reason, "no GPU is read"),
        }
        if status.word == "degraded" || was == Some("degraded") {
            self.events.say("gpu", json!({ "what": "status", "status": status.word, "reason": reason }));
        }
    }

    fn tell_xid(&self, told: &mut Told, card: &Card) {
        let Some(Xid { count, last }) = card.reading.now.xid_errors else { return };
        let before = told.xids.insert(card.key(), count).unwrap_or_default();
        if count > before {
            let (key, gpu, code, errors) = (card.key(), card.index, last, count - before);
            tracing::warn!(card = key, gpu, code, errors, "a GPU reports an error (XID)");
            self.events.say("gpu", json!({ "what": "xid", "card": key, "gpu": gpu, "code": code, "errors": errors }));
        }
    }

    /// Presses on the backends whose cards are critical, and lets go of the others.
    fn press(&self, now: Instant, cards: &[Card]) {
        for (backend, on) in &self.gpu.backends {
            let until = self.critical_until(on, cards);
            let pressure = match (until, self.gpu.config.when_critical) {
                (None, _) | (_, WhenCritical::Ignore) => Pressure::None,
                (Some(_), WhenCritical::PreferOther) => Pressure::Avoid,
                (Some(_), WhenCritical::Shed) => Pressure::Shed,
            };
            let lease = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            self.current.load().fleet().press(backend, pressure, lease);
        }
    }

    /// Until when at least one of these cards is critical.
    fn critical_until(&self, on: &[Which], cards: &[Card]) -> Option<Instant> {
        let judge = self.gpu.judge();
        let critical = cards.iter().filter(|card| counts(on, card)).filter_map(|card| judge.of(card));
        critical.map(|critical| critical.until).max()
    }
}

fn tell_change(events: &Events, change: &Change, cards: &[Card]) {
    let (key, what, cause) = match change {
        Change::Entered(key, cause) => (key, "critical", Some(cause.name())),
        Change::Left(key) => (key, "well", None),
    };
    // Of one that says nothing any more only the name is known.
    let card = cards.iter().find(|card| card.key() == *key);
    let gpu = card.map(|card| card.index);
    let memory_share = card.and_then(Card::memory_share);
    let temperature_c = card.and_then(|card| card.reading.now.temperature_c);
    match cause {
        Some(cause) => tracing::warn!(card = key, gpu, cause, memory_share, temperature_c, "a GPU is critical"),
        None => tracing::info!(card = key, gpu, memory_share, temperature_c, "a GPU is critical no more"),
    }
    let data = json!({
        "what": what, "card": key, "gpu": gpu, "cause": cause,
        "memory_share": memory_share, "temperature_c": temperature_c,
    });
    events.say("gpu", data);
}
