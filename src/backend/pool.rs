//! Idle connections to one backend, the freshest taken first.
//!
//! Pingora's pool spawns a task for each connection at each return, to watch it while it is idle; that
//! is a tenth of the cost of a short request. Here a connection is looked at when it is taken, and a
//! sweeper closes what has been idle too long.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep};

/// Idle connections that a worker keeps at most; beyond it the one idle longest is closed.
const MAX_IDLE: usize = 1024;

pub struct Pool {
    shards: [Mutex<State>; SHARDS],
    idle_timeout: Duration,
}

/// Each worker has its own: a connection lives in the reactor of the worker that opened it, and any
/// other would have to be woken through it.
const SHARDS: usize = 64;

fn own_shard() -> usize {
    static WORKERS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static WORKER: usize = WORKERS.fetch_add(1, Ordering::Relaxed);
    }
    WORKER.with(|worker| worker % SHARDS)
}

#[derive(Default)]
struct State {
    /// The one idle longest first.
    idle: VecDeque<(Instant, Stream)>,
    sweeping: bool,
}

impl Pool {
    pub fn new(idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Pool { shards: std::array::from_fn(|_| Mutex::default()), idle_timeout })
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, State> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that the backend has not closed, as far as can be known without asking it.
    pub fn take(&self) -> Option<Stream> {
        let shard = own_shard();
        loop {
            let (since, mut stream) = self.shard(shard).idle.pop_back()?;
            if since.elapsed() < self.idle_timeout && is_quiet(&mut stream) {
                return Some(stream);
            }
        }
    }

    pub fn put(self: &Arc<Self>, stream: Stream) {
        let shard = own_shard();
        let mut state = self.shard(shard);
        state.idle.push_back((Instant::now(), stream));
        if state.idle.len() > MAX_IDLE {
            state.idle.pop_front();
        }
        if !std::mem::replace(&mut state.sweeping, true) {
            #[expect(
                clippy::disallowed_methods,
                reason = "one sweeper for a shard, which ends with the last idle one"
            )]
            tokio::spawn(self.clone().sweep(shard));
        }
    }

    async fn sweep(self: Arc<Self>, shard: usize) {
        loop {
            sleep(self.idle_timeout).await;
            let mut state = self.shard(shard);
            while state.idle.front().is_some_and(|(since, _)| since.elapsed() >= self.idle_timeout) {
                state.idle.pop_front();
            }
            if state.idle.is_empty() {
                state.sweeping = false;
                return;
            }
        }
    }
}

/// Whether there is nothing to read: no end, and no byte that nobody asked for.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_ended_or_spoken_is_not_taken() {
        let pool = Pool::new(Duration::from_secs(4));
        let (kept, server) = duplex(64);
        pool.put(Box::new(server));
        let (closed, server) = duplex(64);
        pool.put(Box::new(server));
        drop(closed);
        let (mut spoke, server) = duplex(64);
        pool.put(Box::new(server));
        spoke.write_all(b"x").await.unwrap();
        assert!(pool.take().is_some(), "the one that is fine");
        assert!(pool.take().is_none(), "the others are gone");
        drop(kept);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_idle_too_long_is_closed_without_being_asked_for() {
        let pool = Pool::new(Duration::from_secs(4));
        let (mut client, server) = duplex(64);
        pool.put(Box::new(server));
        sleep(Duration::from_secs(9)).await;
        assert!(client.write_all(b"x").await.is_err(), "the other end sees it closed");
        assert!(pool.take().is_none());
        let (_client, server) = duplex(64);
        pool.put(Box::new(server));
        assert!(pool.take().is_some(), "and it goes on after that");
    }
}
