//! How this process comes to its turn: at once, or from the one before it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{Fds, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio_util::sync::CancellationToken;

use super::incumbent::Knowing;
use super::predecessor::Switched;
use super::sockets::{bind_unix, put, relay_path};
use super::{Predecessor, State, Turn, Whose};

/// How long it waits for what it shares with others to be known before it asks for the turn.
const SETTLING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);

pub struct Succession {
    pub predecessor: Mutex<Option<Predecessor>>,
    pub knowing: Knowing,
    pub turn: Turn,
    /// Told when nobody else believes that it is his.
    pub confirmed: CancellationToken,
    /// Where others ask, and relay to.
    pub upgrade_socket: Option<PathBuf>,
    /// Where the service that takes what is relayed looks for its socket.
    pub relayed: Arc<Mutex<Fds>>,
}

#[async_trait]
impl BackgroundService for Succession {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        match predecessor {
            None => {
                self.begin();
                self.confirmed.cancel();
            }
            Some(predecessor) => self.follow(predecessor).await,
        }
    }
}

impl Succession {
    async fn follow(&self, mut predecessor: Predecessor) {
        // Meanwhile the one before it answers: whoever came later than this would wait.
        let _ = tokio::time::timeout(SETTLING, self.knowing.settled(LOOK)).await;
        let switching = tokio::task::spawn_blocking(move || (predecessor.switch(), predecessor));
        let Ok((switched, mut predecessor)) = switching.await else {
            return failed("asking for the turn came to a panic");
        };
        match switched {
            Ok(Switched::Given(state)) => self.inherit(*state),
            Ok(Switched::Died) => {
                tracing::warn!("the process before this one has died: it is followed without its knowledge")
            }
            Err(error) => return failed(&format!("{error:#}")),
        }
        self.begin();
        let telling = tokio::task::spawn_blocking(move || (predecessor.serving(), predecessor.is_alive()));
        match telling.await {
            Ok((Ok(()), _)) => tracing::info!("the place of the process before this one is taken"),
            Ok((Err(error), false)) => {
                tracing::warn!(%error, "the process before this one has died while it handed over")
            }
            Ok((Err(error), true)) => return failed(&format!("it does not confirm: {error}")),
            Err(_) => return failed("telling it came to a panic"),
        }
        self.confirmed.cancel();
    }

    fn inherit(&self, state: State) {
        let serving = self.knowing.now();
        serving.limiter.inherit(state.limits);
        serving.fleet().inherit(state.backends);
        if let Err(error) = serving.books.inherit(state.costs) {
            tracing::error!(%error, "what the process before this one had in its ledger is lost");
        }
    }

    /// From here on requests are answered here.
    fn begin(&self) {
        if let Some(path) = &self.upgrade_socket {
            let path = relay_path(path);
            match bind_unix(&path) {
                Ok(socket) => put(&self.relayed, &path.display().to_string(), socket),
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "requests cannot be relayed to this process")
                }
            }
        }
        self.turn.becomes(Whose::Ours);
    }
}

/// The one before answers on: this one must not.
fn failed(why: &str) {
    tracing::error!(why, "the upgrade has failed, and the process before this one goes on");
    std::process::exit(1);
}
