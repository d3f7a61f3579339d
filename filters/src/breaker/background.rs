//! What goes on behind the requests: active checks, the engines' own metrics, and what is learned each second.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::config::EngineMetrics;
use super::engine;
use super::fleet::Fleet;
use super::member::Member;

/// Asks a backend for something that is not a generation.
#[async_trait]
pub trait Reach: Send + Sync + 'static {
    /// Answers with at most so much of the body. The backend's own key goes along, where it has one.
    async fn get(&self, backend: usize, path: &str, within: Duration) -> Result<(StatusCode, Bytes), String>;
}

/// A backend without metrics of an engine is asked again after this.
const ANOTHER_TRY: Duration = Duration::from_secs(300);
/// What an engine said longer ago than so many times the interval is forgotten.
const STALE_AFTER: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

impl Fleet {
    /// Runs until the process ends.
    pub async fn run(self: Arc<Self>, reach: Arc<dyn Reach>) {
        let checks = join_all(self.members.iter().map(|member| self.check(member, &*reach)));
        let scrapes = join_all(self.members.iter().map(|member| self.scrape(member, &*reach)));
        let ticks = async {
            let mut tick = interval(SECOND);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                self.tick();
            }
        };
        tokio::join!(checks, scrapes, ticks);
    }

    async fn check(&self, member: &Arc<Member>, reach: &dyn Reach) {
        let Some(path) = &member.config.health_path else { return };
        let interval = Duration::from_millis(self.room.health_interval_ms.get());
        loop {
            let outcome = match reach.get(member.index, path, interval).await {
                Ok((status, _)) if status.is_success() => Ok(()),
                Ok((status, _)) => Err(format!("{path} answered {}", status.as_u16()).into()),
                Err(why) => Err(why.into()),
            };
            let why = outcome.as_ref().err().cloned();
            if member.checked(outcome, &self.room) {
                match why {
                    None => tracing::info!(backend = member.name(), "healthy again"),
                    Some(why) => tracing::warn!(backend = member.name(), %why, "unhealthy: it is left alone"),
                }
            }
            // A tenth more or less, so that many sidecars do not ask at once.
            sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    async fn scrape(&self, member: &Arc<Member>, reach: &dyn Reach) {
        if self.room.engine_metrics == EngineMetrics::Off || !member.config.metrics {
            return;
        }
        let interval = Duration::from_millis(self.room.engine_interval_ms.get());
        loop {
            let text = match reach.get(member.index, "/metrics", interval.max(SECOND)).await {
                Ok((status, text)) if status.is_success() => text,
                _ => Bytes::new(),
            };
            let said = std::str::from_utf8(&text).ok().and_then(engine::read);
            let known = member.engine.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            match said {
                Some(engine) => member.says(engine),
                None => member.says_nothing(interval * STALE_AFTER),
            }
            let has_none = said.is_none() && !known;
            sleep(if has_none { ANOTHER_TRY } else { interval }).await;
        }
    }
}

impl Member {
    fn says(&self, engine: engine::Engine) {
        let ours = self.in_flight.load(Ordering::Relaxed);
        let foreign = engine.running.saturating_add(engine.waiting).saturating_sub(ours);
        self.foreign_load.store(u32::try_from(foreign).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.cache_fill.store((engine.kv_usage.unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0) as u32, Ordering::Relaxed);
        if self.config.kv_tokens.is_none() {
            self.admission.set_capacity(engine.kv_tokens);
        }
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some((engine, Instant::now()));
    }

    fn says_nothing(&self, stale_after: Duration) {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if engine.as_ref().is_some_and(|(_, at)| at.elapsed() >= stale_after) {
            *engine = None;
            self.foreign_load.store(0, Ordering::Relaxed);
            self.cache_fill.store(0, Ordering::Relaxed);
        }
    }
}
