//! A run's live figures for Prometheus: `GET /metrics` in the OpenMetrics text form, while the run lasts.
//!
//! It is served by a thread of its own, so that a scrape takes nothing of the threads that keep the schedule.

mod collector;
mod server;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::sync::oneshot;

use super::live::{Observer, Snapshot};
use collector::registry;

/// What the run's thread writes and the server's reads.
type Latest = Arc<Mutex<Snapshot>>;

pub struct Metrics {
    latest: Latest,
    address: SocketAddr,
    /// Dropped, it ends the server.
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Serves from now until it is dropped; port 0 takes a free one.
    pub fn serve(address: SocketAddr) -> anyhow::Result<Metrics> {
        let failed = || format!("--prometheus {address}: cannot listen there; name a free address such as 127.0.0.1:0");
        let listener = TcpListener::bind(address).with_context(failed)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let latest = Latest::default();
        let (stop, stopped) = oneshot::channel();
        let registry = Arc::new(registry(&latest));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || runtime.block_on(server::serve(listener, registry, stopped));
        let server = std::thread::Builder::new().name("prometheus".to_owned()).spawn(serve)?;
        Ok(Metrics { latest, address, stop: Some(stop), server: Some(server) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Observer for Metrics {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        // A snapshot is written whole or not at all, so that a thread that failed beside it has spoilt nothing.
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

#[cfg(test)]
mod tests;
