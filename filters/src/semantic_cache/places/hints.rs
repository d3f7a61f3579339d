//! Hints on disk, in a log beside the entries: read back at start, so that a restart forgets no question.
//!
//! One thread owns the file. At more than twice what it was when written last, or at its cap, it is written anew without
//! what is dead: hints of entries that are gone, past, or told anew.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Listener;
use super::log::{Log, Tail};
use crate::semantic_cache::entry::{Hint, Id, now, wire};

/// Hints that wait to be written.
const WAITING: usize = 8192;

/// How often the end of a full queue is tried for, and after how long again.
const PATIENCE: usize = 500;
const AGAIN: Duration = Duration::from_millis(10);

/// A log shorter than this is not worth being written anew.
const SHORT: u64 = 1 << 20;

pub(super) struct Hints(SyncSender<Work>);

enum Work {
    Learn(Hint),
    Finish(oneshot::Sender<()>),
}

/// Whether a hint leads to an entry that is there.
type Leads = dyn Fn(&Id) -> bool + Send;

impl Hints {
    /// Reads back what is there, in the background, then takes what comes.
    pub(super) fn open(path: PathBuf, bytes: u64, leads: Box<Leads>, listener: Arc<dyn Listener>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let writing = move || {
            if let Err(error) = Writer::open(path, bytes, leads, &*listener).and_then(|writer| writer.run(&receiver)) {
                tracing::warn!(%error, "hints are not kept on disk any more: the next start will know fewer");
            }
        };
        std::thread::Builder::new().name("outrigger-hints".into()).spawn(writing)?;
        Ok(Hints(sender))
    }

    /// False where it is dropped, since more waits than may.
    pub(super) fn learn(&self, hint: Hint) -> bool {
        self.0.try_send(Work::Learn(hint)).is_ok()
    }

    /// Waits until all that was learnt is on the disk itself.
    pub(super) async fn finish(&self) {
        let (sender, done) = oneshot::channel();
        let mut work = Work::Finish(sender);
        // Behind all that waits; where the queue is full, it has a place soon.
        for _ in 0..PATIENCE {
            work = match self.0.try_send(work) {
                Ok(()) => {
                    let _ = done.await;
                    return;
                }
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(work)) => work,
            };
            tokio::time::sleep(AGAIN).await;
        }
    }
}

struct Writer {
    log: Log,
    leads: Box<Leads>,
    most: u64,
    /// The length at which it is written anew.
    limit: u64,
}

impl Writer {
    fn open(path: PathBuf, most: u64, leads: Box<Leads>, listener: &dyn Listener) -> io::Result<Self> {
        let (date, mut read, mut dead) = (now(), 0_u64, 0_u64);
        let (log, tail) = Log::open(&path, |record| match wire::decode_hint(record) {
            Ok(hint) if hint.until > date && leads(&hint.id) => {
                read += 1;
                listener.hint(hint);
            }
            _ => dead += 1,
        })?;
        if tail == Tail::Corrupt {
            tracing::warn!(path = %path.display(), "the log of hints is damaged: what follows the damage is cut off");
        }
        tracing::debug!(read, dead, "hints read back from disk");
        let mut writer = Writer { log, leads, most, limit: 0 };
        if dead > read {
            writer.rewrite()?;
        }
        writer.set_limit();
        Ok(writer)
    }

    /// Until nobody can send any more.
    fn run(mut self, receiver: &Receiver<Work>) -> io::Result<()> {
        while let Ok(work) = receiver.recv() {
            match work {
                Work::Learn(hint) => {
                    if let Some(record) = wire::encode_hint(&hint) {
                        self.append(&record);
                    }
                }
                Work::Finish(done) => {
                    self.log.sync()?;
                    let _ = done.send(());
                }
            }
            if self.log.length() > self.limit {
                self.rewrite()?;
                self.set_limit();
            }
        }
        self.log.sync()
    }

    fn append(&mut self, record: &[u8]) {
        // A full disk may have room again later.
        if let Err(error) = self.log.append(record) {
            tracing::debug!(%error, "a hint could not be kept on disk");
        }
    }

    fn set_limit(&mut self) {
        self.limit = (2 * self.log.length()).max(SHORT).min(self.most);
    }

    /// Keeps the newest hint of each entry that is there; where these are more than three quarters of the cap, the
    /// newest of them.
    fn rewrite(&mut self) -> io::Result<()> {
        let date = now();
        let mut newest: HashMap<Id, (usize, u64)> = HashMap::new();
        let mut number = 0;
        self.log.scan(|record| {
            number += 1;
            if let Ok(hint) = wire::decode_hint(record)
                && hint.until > date
                && (self.leads)(&hint.id)
            {
                newest.insert(hint.id, (number, record.len() as u64));
            }
        })?;
        let total: u64 = newest.values().map(|(_, length)| length).sum();
        let mut over = total.saturating_sub(self.most / 4 * 3);
        let mut keep: Vec<_> = newest.into_values().collect();
        keep.sort_unstable();
        keep.retain(|(_, length)| {
            let goes = over > 0;
            over = over.saturating_sub(*length);
            !goes
        });
        self.copy(&keep)
    }

    /// Writes the log anew with the records of these numbers, which ascend.
    fn copy(&mut self, keep: &[(usize, u64)]) -> io::Result<()> {
        let mut keep = keep.iter().map(|(number, _)| *number).peekable();
        let mut number = 0;
        self.log.retain(|_| {
            number += 1;
            keep.next_if_eq(&number).is_some()
        })
    }
}

#[cfg(test)]
mod tests;
