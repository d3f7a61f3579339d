//! The end: requests in flight, what is not written yet, the last words.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outrigger_filters::cost::Books;
use outrigger_filters::rate_limit::Limiter;
use outrigger_filters::semantic_cache::Cache;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::signals;
use crate::ending::Ending;
use crate::events::Events;
use crate::guard::Connections;
use crate::insight::Insight;
use crate::proxy::Active;
use crate::serving::Current;
use crate::telemetry::{Desk, Logs, Metrics, Otlp};
use crate::upgrade::{Incumbent, Turn, Whose};

/// After SIGTERM: not ready any more, and an end once the requests in flight have ended. Those that have not when their time
/// is over, or when it is told a second time, end with a visible error.
pub struct Drain {
    pub ending: Ending,
    pub active: Active,
    pub connections: Connections,
    pub turn: Turn,
    /// Closed at the beginning of the end; none is left for a successor then.
    pub incumbent: Arc<Incumbent>,
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

/// How long it may take to tell clients that their answers are cut.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
const LAST_BYTES: Duration = Duration::from_millis(500);
/// … and the next process what became of them.
const LAST_NEWS: Duration = Duration::from_secs(5);

impl Drain {
    /// Waits until nothing is in flight; where another process has taken over, also for connections that lie idle: a request
    /// that is on its way on one of them is worth more than an end that is soon.
    async fn idle(&self) {
        let waits_for_connections = self.is_replaced();
        while self.active.count() > 0 || (waits_for_connections && self.connections.count() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What calls that were in flight have come to.
    async fn tell_the_next(&self) {
        match self.is_replaced() {
            true => {
                let outbox = self.incumbent.outbox.clone();
                let _ = tokio::task::spawn_blocking(move || outbox.finish(LAST_NEWS)).await;
            }
            false => self.incumbent.remove_socket(),
        }
    }

    async fn closed(&self) {
        while self.connections.count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_replaced(&self) -> bool {
        self.turn.whose() == Whose::Theirs
    }
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|over| *over).await.is_err() {
            return;
        }
        self.ending.begin();
        self.incumbent.close();
        let serving = self.current.load_full();
        let server = &serving.config.server;
        let secs = if self.is_replaced() { server.upgrade_drain_secs } else { server.drain_secs };
        let time = Duration::from_secs(secs);
        let in_flight = self.active.count();
        tracing::info!(in_flight, "draining");
        self.events.say("draining", serde_json::json!({ "in_flight": in_flight }));
        let why = tokio::select! {
            () = self.idle() => None,
            () = tokio::time::sleep(time) => Some("the time to drain is over"),
            () = signals::told() => Some("told to end a second time"),
        };
        if let Some(why) = why {
            tracing::warn!(in_flight = self.active.count(), "{why}: what is in flight is cut");
            self.ending.call_time();
            let _ = tokio::time::timeout(LAST_ANSWERS, self.idle()).await;
            // What was written last is still on its way, where streams share a connection.
            let _ = tokio::time::timeout(LAST_BYTES, self.closed()).await;
        }
        // What is not written yet is money: first.
        self.spent.finish().await;
        self.limiter.finish().await;
        self.kept.finish().await;
        self.tell_the_next().await;
        let last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(last_words) = last_words {
            let _ = tokio::task::spawn_blocking(|| last_words.say()).await;
        }
        // Pingora would sit out the whole time even with nothing left to wait for.
        std::process::exit(0);
    }
}
