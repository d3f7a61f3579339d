//! What tells the process to end: signals, or that another has taken its place.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Waits for the first of them.
pub struct Signals {
    /// Told once another process has taken over.
    pub replaced: Arc<Notify>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    /// Always the gentle end: what it may take is [`super::drain::Drain`]'s to say, also of a hand-over, which Pingora would
    /// begin without knowing whether anybody is there to take it.
    async fn recv(&self) -> ShutdownSignal {
        tokio::select! {
            () = told() => {}
            () = self.replaced.notified() => {}
        }
        ShutdownSignal::GracefulTerminate
    }
}

/// Waits until somebody wants the process to end: SIGTERM, SIGINT (Ctrl-C) or SIGQUIT.
pub async fn told() {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()];
    let mut signals: Vec<Signal> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    if signals.is_empty() {
        tracing::error!("no signals can be heard: only a kill ends this process");
        return std::future::pending().await;
    }
    let heard = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures::future::select_all(heard).await;
}
