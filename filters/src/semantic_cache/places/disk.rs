//! Answers on disk, in foyer's block engine: written soon after they are put, found again after a restart or a crash.
//!
//! What is read back is checked as a whole by our own encoding: a block that was torn or used anew in the middle of
//! reading is a miss, never half an answer. Reads and writes run on threads of their own.

mod lock;
mod removed;
mod room;
mod value;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy, Load,
    PsyncIoEngineConfig, Spawner, StorageFilter,
};

use super::stats::Counts;
use tokio::time::Instant;

use crate::semantic_cache::entry::{Entry, Id, wire};
use crate::windows::{Summary, Window, Windows};
use lock::Lock;
use removed::Removed;
use value::{Evictions, Kept, Key, Pending};

const PAGE: usize = 4096;
/// What the engine puts before an entry and between entries, at most.
const MARGIN: usize = 4 * PAGE;
const LARGEST_BLOCK: usize = 16 << 20;
/// Fewer blocks and one that is let go takes too much with it.
const FEWEST_BLOCKS: usize = 8;
/// What may wait to be written, of ordinary entries.
const WAITING: usize = 4 << 20;

/// How long it may take to write what waits.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Disk {
    cache: HybridCache<Key, Kept>,
    removed: Removed,
    pending: Arc<AtomicU64>,
    most_pending: u64,
    counts: Arc<Counts>,
    reads: Mutex<Windows>,
    lock: Lock,
}

/// What a read came to.
pub(super) enum Read {
    Entry(Arc<Entry>),
    Nothing,
    /// Something was there that is no entry any more.
    Corrupt,
    /// The disk did not let itself be read.
    Failed,
}

impl Disk {
    /// Takes `bytes` of disk in `folder` and finds again what lies there. Entries are `max_entry_bytes` at most.
    pub(super) fn open(
        folder: &Path,
        bytes: u64,
        max_entry_bytes: usize,
        counts: Arc<Counts>,
        handed: Option<OwnedFd>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let lock = match handed.and_then(|fd| Lock::handed(&folder.join("lock"), fd)) {
            Some(lock) => lock,
            None => Lock::take(&folder.join("lock"))?,
        };
        let entry = (max_entry_bytes + MARGIN).next_multiple_of(PAGE);
        let least = entry * FEWEST_BLOCKS;
        let capacity = usize::try_from(bytes).unwrap_or(usize::MAX);
        if capacity < least {
            return Err(io::Error::other(format!(
                "{bytes} bytes are too few for entries of up to {max_entry_bytes}: {least} are the least"
            )));
        }
        let block = (capacity / 64).clamp(entry, LARGEST_BLOCK.max(entry)).next_multiple_of(PAGE);
        let waiting = WAITING.max(2 * entry);
        room::make(folder, capacity / block)?;
        let engine = move |counts: Arc<Counts>| -> Result<_, foyer::Error> {
            let device = FsDeviceBuilder::new(folder).with_capacity(capacity / block * block).build()?;
            Ok(BlockEngineConfig::new(device)
                .with_block_size(block)
                .with_buffer_pool_size(waiting)
                .with_submit_queue_size_threshold(2 * waiting)
                .with_reinsertion_filter(StorageFilter::new().with_condition(Evictions(counts))))
        };
        let engine = engine(counts.clone()).map_err(io::Error::other)?;
        let cache = open(engine)?;
        let removed = Removed::open(&folder.join("removed.log"))?;
        Ok(Disk {
            cache,
            removed,
            pending: Arc::default(),
            most_pending: waiting as u64,
            counts,
            reads: Mutex::default(),
            lock,
        })
    }

    pub(super) fn lock_file(&self) -> BorrowedFd<'_> {
        self.lock.fd()
    }

    /// Writes an entry soon. False where more waits than may: then an older one of its id is gone, too.
    pub(super) fn put(&self, id: Id, bytes: Bytes) -> bool {
        let size = (bytes.len() + PAGE).next_multiple_of(PAGE) as u64;
        let Some(pending) = Pending::new(&self.pending, size, self.most_pending) else {
            self.cache.storage().delete(&Key(id));
            return false;
        };
        self.counts.disk_writes.fetch_add(1, Ordering::Relaxed);
        self.cache.storage_writer(Key(id)).force().insert(Kept::new(bytes, pending)).is_some()
    }

    pub(super) async fn get(&self, id: &Id) -> Read {
        let begun = Instant::now();
        let read = self.read(id).await;
        let now = Instant::now();
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.record(now, (now - begun).as_secs_f64());
        read
    }

    /// How long reads have taken lately.
    pub(super) fn took(&self, window: Window) -> Option<Summary> {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reads.summary(Instant::now(), window)
    }

    async fn read(&self, id: &Id) -> Read {
        let there = self.holds(id);
        let bytes = match self.cache.storage().load(&Key(*id)).await {
            Ok(Load::Entry { value, .. }) => value.bytes().clone(),
            Ok(Load::Piece { piece, .. }) => piece.value().bytes().clone(),
            // The engine has checked it first, and struck it from its index.
            Ok(Load::Miss) if there && !self.holds(id) => return Read::Corrupt,
            Ok(Load::Miss) => return Read::Nothing,
            Ok(Load::Throttled) => return Read::Failed,
            Err(error) => {
                tracing::debug!(%error, "a kept answer could not be read from disk");
                self.cache.storage().delete(&Key(*id));
                return Read::Corrupt;
            }
        };
        match wire::decode(&bytes, id) {
            Ok(entry) if self.removed.has(&entry) => Read::Nothing,
            Ok(entry) => Read::Entry(Arc::new(entry)),
            Err(error) => {
                tracing::debug!(%error, ?id, "a kept answer on disk is not what it was");
                self.cache.storage().delete(&Key(*id));
                Read::Corrupt
            }
        }
    }

    /// Whether it has an entry of this id, as far as its index knows.
    pub(super) fn holds(&self, id: &Id) -> bool {
        self.cache.storage().may_contains(&Key(*id))
    }

    /// Also what is found again at the next start: the engine itself forgets there what it has deleted.
    pub(super) fn remove(&self, id: &Id) {
        if self.holds(id) {
            self.removed.add(*id);
            self.cache.storage().delete(&Key(*id));
        }
    }

    /// Throws away what is past or invalidated anyhow, and would be after a restart.
    pub(super) fn forget(&self, id: &Id) {
        self.cache.storage().delete(&Key(*id));
    }

    /// Waits until all that was put is written, but not for ever for a disk that writes no more.
    pub(super) async fn finish(&self) {
        if tokio::time::timeout(PATIENCE, self.cache.storage().wait()).await.is_err() {
            tracing::warn!("the disk did not write all kept answers in time");
        }
    }
}

/// What the files of a folder take, as the file system has it.
pub(super) fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        // A log that is being written anew may be gone by now.
        bytes += file?.metadata().map_or(0, |file| file.blocks() * 512);
    }
    Ok(bytes)
}

fn open(engine: BlockEngineConfig<Key, Kept, foyer::HybridCacheProperties>) -> io::Result<HybridCache<Key, Kept>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(8)
        .thread_name("outrigger-disk")
        .build()?;
    let spawner = Spawner::from(runtime);
    let Spawner::Runtime(runtime) = &spawner else { return Err(io::Error::other("no runtime for the disk")) };
    let opening = HybridCacheBuilder::new()
        .with_name("outrigger")
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        // Its memory holds nothing: ours stands before it.
        .memory(1)
        .with_shards(1)
        .with_filter(|_, _| false)
        .storage()
        .with_io_engine_config(PsyncIoEngineConfig::new())
        .with_engine_config(engine)
        .with_spawner(spawner.clone())
        .build();
    // On a thread of its own, since the caller may be on a runtime, where none may be blocked.
    let opened = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(opening)).join());
    opened.map_err(|_| io::Error::other("opening the disk came to a panic"))?.map_err(io::Error::other)
}
