//! What goes on behind the requests: active checks, the engines' own metrics, and what is learned each second.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::config::EngineMetrics;
use super::engine;
use super::fleet::Fleet;
use super::member::{Core, Member};
use crate::newest::Newest;

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
    /// Runs until the process ends, for all that follow this one too.
    pub async fn run(self: Arc<Self>, reach: Arc<dyn Reach>) {
        let (newest, mut changed) = (self.newest.clone(), self.changed.subscribe());
        drop(self);
        let mut watches: FuturesUnordered<BoxFuture<'static, Arc<Core>>> = FuturesUnordered::new();
        let mut watched: Vec<Arc<Core>> = Vec::new();
        let mut tick = interval(SECOND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Some(fleet) = newest.get() else { return };
            for member in &fleet.members {
                if !watched.iter().any(|core| Arc::ptr_eq(core, &member.core)) {
                    watched.push(member.core.clone());
                    let (newest, changed, reach) = (newest.clone(), changed.clone(), reach.clone());
                    let watch = Watch { core: member.core.clone(), newest, changed, reach };
                    watches.push(Box::pin(watch.run()));
                }
            }
            drop(fleet);
            tokio::select! {
                Some(gone) = watches.next() => watched.retain(|core| !Arc::ptr_eq(core, &gone)),
                _ = changed.changed() => {}
                _ = tick.tick() => {
                    if let Some(fleet) = newest.get() {
                        fleet.tick();
                    }
                }
            }
        }
    }
}

/// Finds out how one backend is, for as long as it is one.
struct Watch {
    core: Arc<Core>,
    newest: Arc<Newest<Fleet>>,
    changed: watch::Receiver<()>,
    reach: Arc<dyn Reach>,
}

impl Watch {
    async fn run(self) -> Arc<Core> {
        tokio::join!(self.checks(), self.scrapes());
        self.core
    }

    /// The backend under the settings of now; none once it is no more.
    fn member(&self) -> Option<Arc<Member>> {
        let fleet = self.newest.get()?;
        fleet.members.iter().find(|member| Arc::ptr_eq(&member.core, &self.core)).cloned()
    }

    /// Waits until it is due to ask again, by the settings of then; none once the backend is no more. Where it is never due,
    /// other settings are waited for.
    async fn due(&self, when: impl Fn(&Member) -> Option<Instant>) -> Option<Arc<Member>> {
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            let member = self.member()?;
            let until = when(&member);
            if until.is_some_and(|until| until <= Instant::now()) {
                return Some(member);
            }
            drop(member);
            let wait = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                told = changed.changed() => told.ok()?,
            }
        }
    }

    async fn checks(&self) {
        let (mut asked, mut factor) = (None::<Instant>, 1.0);
        let interval = |member: &Member| Duration::from_millis(member.room.health_interval_ms.get());
        loop {
            let when = |member: &Member| {
                member.config.health_path.as_ref()?;
                Some(asked.map_or_else(Instant::now, |asked| asked + interval(member).mul_f64(factor)))
            };
            let Some(member) = self.due(when).await else { return };
            let Some(path) = &member.config.health_path else { continue };
            let outcome = match self.reach.get(member.index, path, interval(&member)).await {
                Ok((status, _)) if status.is_success() => Ok(()),
                Ok((status, _)) => Err(format!("{path} answered {}", status.as_u16()).into()),
                Err(why) => Err(why.into()),
            };
            let why = outcome.as_ref().err().cloned();
            if member.checked(outcome, &member.room) {
                match why {
                    None => tracing::info!(backend = member.name(), "healthy again"),
                    Some(why) => tracing::warn!(backend = member.name(), %why, "unhealthy: it is left alone"),
                }
            }
            // A tenth more or less, so that many sidecars do not ask at once.
            (asked, factor) = (Some(Instant::now()), 0.9 + 0.2 * fastrand::f64());
        }
    }

    async fn scrapes(&self) {
        let (mut asked, mut has_none) = (None::<Instant>, false);
        let interval = |member: &Member| Duration::from_millis(member.room.engine_interval_ms.get());
        loop {
            let when = |member: &Member| {
                let off = member.room.engine_metrics == EngineMetrics::Off || !member.config.metrics;
                let pause = if has_none { ANOTHER_TRY } else { interval(member) };
                (!off).then(|| asked.map_or_else(Instant::now, |asked| asked + pause))
            };
            let Some(member) = self.due(when).await else { return };
            let interval = interval(&member);
            let text = match self.reach.get(member.index, "/metrics", interval.max(SECOND)).await {
                Ok((status, text)) if status.is_success() => text,
                _ => Bytes::new(),
            };
            let said = std::str::from_utf8(&text).ok().and_then(engine::read);
            let known = member.engine.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            match said {
                Some(engine) => member.says(engine),
                None => member.says_nothing(interval * STALE_AFTER),
            }
            (asked, has_none) = (Some(Instant::now()), said.is_none() && !known);
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
