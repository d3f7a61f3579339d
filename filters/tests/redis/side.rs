//! One sidecar's view: a store and its windows, with the background on a thread of its own as in the proxy.

use std::sync::Arc;
use std::time::Duration;

use outrigger_filters::rate_limit::remote::{Answer, Call, Kind, Lease, Limit, Line, Remote, Seen, Settle};
use outrigger_filters::store::{Config, Store, Unanswered};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub const MINUTE: Duration = Duration::from_secs(60);

pub struct Side {
    pub store: Arc<Store>,
    pub remote: Arc<Remote>,
    end: Option<oneshot::Sender<()>>,
    background: Option<std::thread::JoinHandle<()>>,
}

/// Generous, since machines that run tests are busy.
pub fn config(url: &str) -> Config {
    Config { url: Some(url.parse().expect("an address")), timeout_ms: 50, ..Config::default() }
}

impl Side {
    pub async fn new(url: &str) -> Self {
        let side = Self::with(&config(url), MINUTE);
        side.ready().await;
        side
    }

    pub fn with(config: &Config, reservation: Duration) -> Self {
        let meter = opentelemetry::global::meter("test");
        let store = Store::new(config, &meter).expect("settings");
        let remote = Remote::new(store.clone(), reservation, &meter);
        let (end, ended) = oneshot::channel::<()>();
        let (running, also_running) = (store.clone(), remote.clone());
        let background = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = running.clone().run() => {}
                    () = also_running.run() => {}
                    _ = ended => {}
                }
                // What is left to say goodbye with.
                tokio::time::sleep(Duration::from_millis(50)).await;
            });
        });
        Side { store, remote, end: Some(end), background: Some(background) }
    }

    /// Waits until this thread has a connection.
    pub async fn ready(&self) {
        let begun = Instant::now();
        let limit = limit("ready", Kind::Window, 1);
        while self.remote.read(std::slice::from_ref(&limit)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the store did not come up: {:?}", self.store.health());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn admit(&self, lease: u64, lines: Vec<Line>) -> Result<Answer, Unanswered> {
        self.remote.admit(Call { lease: Lease(lease), lines }, |_| ()).await
    }

    pub async fn seen(&self, limit: &Limit) -> Seen {
        self.remote.read(std::slice::from_ref(limit)).await.expect("an answer")[0]
    }

    /// Ends the background, as the end of the process would, with its goodbye.
    pub fn end(&mut self) {
        drop(self.end.take());
        if let Some(background) = self.background.take() {
            background.join().expect("the background should not panic");
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(background) = self.background.take() {
            let _ = background.join();
        }
    }
}

pub fn limit(key: &str, kind: Kind, amount: u64) -> Limit {
    Limit { key: format!("outrigger:{{t}}:{key}"), kind, amount, window: MINUTE }
}

pub fn line(limit: &Limit, cost: u64, known: u64) -> Line {
    Line { limit: limit.clone(), cost, known, restore: None }
}

pub fn admitted(answer: Result<Answer, Unanswered>) -> (u64, Vec<Seen>) {
    match answer {
        Ok(Answer::Admitted { at, lines }) => (at, lines),
        other => panic!("this should have been admitted: {other:?}"),
    }
}

pub fn refused(answer: Result<Answer, Unanswered>) -> Vec<Seen> {
    match answer {
        Ok(Answer::Refused { lines, .. }) => lines,
        other => panic!("this should have been refused: {other:?}"),
    }
}

pub fn settle(limit: &Limit, lease: u64, at: u64, reserved: u64, actual: u64, known: u64) -> Settle {
    Settle { limit: limit.clone(), lease: Lease(lease), at, reserved, actual, known }
}

/// Waits for something that the background brings about.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
