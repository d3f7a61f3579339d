//! What foyer is given: keys and values as our own encoding has them, and what it may have waiting.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foyer::{Code, Error, Statistics, StorageFilterCondition, StorageFilterResult};

use crate::semantic_cache::entry::{Id, wire};
use crate::semantic_cache::places::stats::Counts;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) Id);

impl Code for Key {
    fn encode(&self, writer: &mut impl Write) -> Result<(), Error> {
        writer.write_all(&self.0.0).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self, Error> {
        let mut id = [0; 32];
        reader.read_exact(&mut id).map_err(Error::io_error)?;
        Ok(Key(Id(id)))
    }

    fn estimated_size(&self) -> usize {
        size_of::<Id>()
    }
}

/// An entry as bytes, on its way to the disk or from it.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Bytes,
    /// Ends when the entry is written.
    _pending: Option<Pending>,
}

impl Kept {
    pub(super) fn new(bytes: Bytes, pending: Pending) -> Self {
        Kept { bytes, _pending: Some(pending) }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Code for Kept {
    fn encode(&self, writer: &mut impl Write) -> Result<(), Error> {
        writer.write_all(&self.bytes).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self, Error> {
        let mut head = [0; wire::HEAD];
        reader.read_exact(&mut head).map_err(Error::io_error)?;
        let length = wire::length(&head).map_err(|error| Error::io_error(std::io::Error::other(error)))?;
        let mut bytes = head.to_vec();
        // By what is there, not by what it says of itself.
        reader.take((length - wire::HEAD) as u64).read_to_end(&mut bytes).map_err(Error::io_error)?;
        Ok(Kept { bytes: bytes.into(), _pending: None })
    }

    fn estimated_size(&self) -> usize {
        self.bytes.len()
    }
}

/// Bytes that wait to be written, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Pending {
    all: Arc<AtomicU64>,
    size: u64,
}

impl Pending {
    /// None where it would be more than `most`.
    pub(super) fn new(all: &Arc<AtomicU64>, size: u64, most: u64) -> Option<Self> {
        let pending = Pending { all: all.clone(), size };
        let before = all.fetch_add(size, Ordering::Relaxed);
        (before + size <= most).then_some(pending)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.all.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// Is asked about each entry of a block that is let go, and counts them.
#[derive(Debug)]
pub(super) struct Evictions(pub(super) Arc<Counts>);

impl StorageFilterCondition for Evictions {
    fn filter(&self, _: &Arc<Statistics>, _: u64, _: usize) -> StorageFilterResult {
        self.0.disk_evictions.fetch_add(1, Ordering::Relaxed);
        StorageFilterResult::Reject
    }
}
