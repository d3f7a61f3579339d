//! Answers in Redis, beside the hints of their scope: read within the time that a request waits for Redis, written in
//! the background, and trusted only by those who know all purges that Redis knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::{Away, Entered, Queue, SharedIndex, Streams, streams};
use crate::semantic_cache::entry::{Date, Entry, Id, Scope, now};
use crate::semantic_cache::places::rules::LONGEST;
use crate::store::{Call, Script, Store};

static GET: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('GET', KEYS[1])"));
static SET: LazyLock<Script> =
    LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"));

/// Larger ones are not kept there: on a connection that limits use, too, they would hold up what is behind them.
const LARGEST: usize = 256 << 10;

pub(in super::super) struct Remote {
    pub(in super::super) store: Arc<Store>,
    pub(in super::super) index: Arc<dyn SharedIndex>,
    pub(in super::super) entered: Entered,
    pub(in super::super) queue: Queue,
    pub(in super::super) load_wait: Duration,
    /// The scopes to be loaded, taken by the background.
    pub(in super::super) requests: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Scope>>,
    /// Held while something is written.
    pub(in super::super) writing: tokio::sync::Mutex<()>,
    /// The store's epoch in which all rules were read, and one more; 0 if in none yet.
    trusted: AtomicU64,
    born: AtomicU64,
}

impl Remote {
    pub(in super::super) fn new(store: Arc<Store>, max_hints: usize, load_wait: Duration) -> Self {
        let (entered, requests) = Entered::new();
        Remote {
            index: Arc::new(Streams::new(store.clone(), max_hints)),
            store,
            entered,
            queue: Queue::default(),
            load_wait,
            requests: tokio::sync::Mutex::new(requests),
            writing: tokio::sync::Mutex::new(()),
            trusted: AtomicU64::new(0),
            born: AtomicU64::new(0),
        }
    }

    /// Whether all rules that Redis has are known here.
    pub(in super::super) fn is_trusted(&self) -> bool {
        self.store.epoch().is_some_and(|epoch| self.trusted.load(Ordering::Acquire) == epoch + 1)
    }

    /// From now on in this epoch, for what was kept since then.
    pub(in super::super) fn trust(&self, epoch: u64, born: Date) {
        self.born.store(born, Ordering::Release);
        self.trusted.store(epoch + 1, Ordering::Release);
    }

    pub(in super::super) fn distrust(&self) {
        self.trusted.store(0, Ordering::Release);
    }

    /// When Redis began to know of purges: what was kept there before may be invisible by one that it has lost.
    pub(in super::super) fn born(&self) -> Date {
        self.born.load(Ordering::Acquire)
    }

    /// The bytes that are kept under this id, if any. What comes too late is handed on.
    pub(in super::super) async fn get(
        &self,
        scope: &Scope,
        id: &Id,
        late: impl FnOnce(Bytes) + Send + 'static,
    ) -> Result<Option<Bytes>, Away> {
        let late = move |value| {
            if let Value::BulkString(bytes) = value {
                late(bytes.into());
            }
        };
        match self.store.call(self.reading(scope, id), late).await {
            Ok(Value::BulkString(bytes)) => Ok(Some(bytes.into())),
            Ok(_) => Ok(None),
            Err(_) => Err(Away),
        }
    }

    fn reading(&self, scope: &Scope, id: &Id) -> Call {
        GET.call([streams::answer(&self.store, scope, id).as_str()])
    }

    /// Whether it was taken.
    pub(in super::super) async fn put(&self, entry: &Entry, bytes: &Bytes) -> bool {
        let left = entry.until().saturating_sub(now()).min(LONGEST.as_millis() as u64);
        if left == 0 {
            return true;
        }
        let mut call = SET.call([streams::answer(&self.store, &entry.scope, &entry.id).as_str()]);
        call.arg(bytes.as_ref()).arg(left);
        self.store.call_patiently(call).await.is_ok()
    }

    pub(in super::super) fn takes(&self, bytes: &Bytes) -> bool {
        bytes.len() <= LARGEST && self.is_trusted()
    }
}
