//! The end: requests in flight, what is not written yet, the last words.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outrigger_filters::cost::Books;
use outrigger_filters::rate_limit::Limiter;
use outrigger_filters::semantic_cache::Cache;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::events::Events;
use crate::insight::Insight;
use crate::proxy::Active;
use crate::serving::Current;
use crate::telemetry::{Desk, Logs, Metrics, Otlp};

/// After SIGTERM: not ready any more, and an end once the requests in flight have ended or their time is over.
pub struct Drain {
    pub draining: Arc<AtomicBool>,
    pub active: Active,
    pub limiter: Arc<Limiter>,
    pub kept: Arc<Cache>,
    pub spent: Arc<Books>,
    pub events: Arc<Events>,
    pub last_words: Mutex<Option<LastWords>>,
    /// Says how long it may take.
    pub current: Arc<Current>,
}

/// What is told when all else is done.
pub struct LastWords {
    pub desk: Arc<Desk>,
    pub insight: Arc<Insight>,
    pub metrics: Arc<Metrics>,
    /// Held until all else is said.
    pub held: (Option<Otlp>, Logs),
}

impl LastWords {
    /// In this order: what tells of requests writes to the log and to the collector.
    fn say(self) {
        self.insight.finish();
        self.desk.finish();
        self.metrics.finish();
        drop(self.held);
    }
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|over| *over).await.is_err() {
            return;
        }
        self.draining.store(true, Ordering::Release);
        let in_flight = self.active.count();
        tracing::info!(in_flight, "draining");
        self.events.say("draining", serde_json::json!({ "in_flight": in_flight }));
        let idle = async {
            while self.active.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let time = Duration::from_secs(self.current.load().config.server.drain_secs);
        if tokio::time::timeout(time, idle).await.is_err() {
            tracing::warn!(in_flight = self.active.count(), "the time to drain is over");
        }
        // What is not written yet is money: first.
        self.spent.finish().await;
        self.limiter.finish().await;
        self.kept.finish().await;
        let last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(last_words) = last_words {
            let _ = tokio::task::spawn_blocking(|| last_words.say()).await;
        }
        // Pingora would sit out the whole time even with nothing left to wait for.
        std::process::exit(0);
    }
}
