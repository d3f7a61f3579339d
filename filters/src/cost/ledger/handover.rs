//! What another process takes over of the ledger when it takes this one's place.
//!
//! A file needs no handing over but for its lock: the other has it open beside this one. What is in memory goes over whole.
//! From that moment on this one writes nothing more: what its last calls come to is told to the other ([`News`]), so that
//! there is one who writes at a time.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{Kind, Record, Series};
use super::sums::Sums;
use super::writer::lock;
use super::{Error, Ledger, Place};

/// How long what waits to be written may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is told. It must not wait.
pub type Tell = crate::heir::Tell<News>;

/// What was in memory, as SQLite has it in a file; nothing of what is in a file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State(Option<Vec<u8>>);

#[derive(Debug, Serialize, Deserialize)]
pub enum News {
    Call(Box<Record>),
    Saved { at: i64, kind: Kind, series: Series, sums: Box<Sums> },
}

/// Who is told, once the moment has come.
pub(super) type Heir = crate::heir::Heir<News>;

impl Ledger {
    /// The lock on the file, for the process that opens it beside this one.
    pub fn lock_file(&self) -> Option<BorrowedFd<'_>> {
        self.lock.as_ref().map(super::file::Lock::fd)
    }

    /// The moment: all is written, and gone over where it is in memory; what comes later is told. Blocks.
    ///
    /// # Errors
    /// What is in memory cannot be read.
    pub fn hand_over(&self, tell: Tell) -> Result<State, Error> {
        // First without keeping anybody waiting.
        self.flush(PATIENCE);
        let mut heir = self.heir.moment();
        if !self.flush(PATIENCE) {
            tracing::warn!("the ledger could not be written to its end before it is handed over; it is tried further");
        }
        let state = match &self.place {
            Place::File(_) => State(None),
            Place::Memory(connection) => {
                let mut connection = lock(connection);
                let whole = connection.serialize("main").map(|whole| whole.to_vec());
                State(Some(whole.map_err(|error| Error::of(std::path::Path::new("(memory)"), error))?))
            }
        };
        *heir = Some(tell);
        Ok(state)
    }

    /// The other process has failed before it answered anybody.
    pub fn take_back(&self) {
        *self.heir.moment() = None;
    }

    /// Takes over what another process had in memory, before anything is written here.
    ///
    /// # Errors
    /// It is no ledger.
    pub fn inherit(&self, state: State) -> Result<(), Error> {
        let (Some(whole), Place::Memory(connection)) = (state.0, &self.place) else { return Ok(()) };
        let mut connection = lock(connection);
        connection.flush_prepared_statement_cache();
        let read = connection.deserialize_read_exact("main", &*whole, whole.len(), false);
        read.map_err(|error| Error::of(std::path::Path::new("(memory)"), error))
    }

    /// What the process before this one tells.
    pub fn hear(&self, news: News) {
        match news {
            News::Call(record) => self.append(*record),
            News::Saved { at, kind, series, sums } => self.pending.add_up(at, kind, series, &sums),
        }
    }
}

#[cfg(test)]
mod tests;
