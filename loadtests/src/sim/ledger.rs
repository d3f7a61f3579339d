//! Every generation is booked once when it starts and once when it ends, however it ends:
//! `started = finished + cancelled + failed + active` holds at every reading.
//!
//! One lock holds the counts and the log. It is taken three times a request for some tens of
//! nanoseconds, and makes every reading exact; loose atomics would be neither faster at these rates
//! nor consistent with each other.

mod guards;
mod records;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::Clock;

pub use guards::{Generation, OpenConnection, Told};
pub use records::{Counts, Entry, Status, Tokens};

/// How many generations the log remembers.
const LOG_LENGTH: usize = 1000;

#[derive(Debug)]
pub struct Ledger {
    clock: Clock,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    last_number: u64,
    counts: Counts,
    log: Vec<Entry>,
}

impl Ledger {
    pub fn new(clock: Clock) -> Arc<Ledger> {
        Arc::new(Ledger { clock, book: Mutex::default() })
    }

    pub fn start(self: &Arc<Ledger>, route: &'static str) -> Generation {
        let started_us = self.clock.now_us();
        let mut book = self.book();
        book.last_number += 1;
        let number = book.last_number;
        book.counts.started += 1;
        book.counts.active += 1;
        book.counts.peak_active = book.counts.peak_active.max(book.counts.active);
        let entry =
            Entry { generation: number, route, status: Status::Active, tokens_sent: 0, started_us, ended_us: None };
        match book.log.get_mut(slot(number)) {
            Some(place) => *place = entry,
            None => book.log.push(entry),
        }
        Generation::new(Arc::clone(self), number)
    }

    pub fn request(&self) {
        self.book().counts.requests += 1;
    }

    pub fn body_hashed(&self, sha256: String) {
        self.book().counts.last_body_sha256 = Some(sha256);
    }

    pub fn connection(self: &Arc<Ledger>) -> OpenConnection {
        let mut book = self.book();
        book.counts.connections += 1;
        book.counts.open_connections += 1;
        OpenConnection::new(Arc::clone(self))
    }

    pub fn counts(&self) -> Counts {
        self.book().counts.clone()
    }

    /// The remembered generations, oldest first.
    pub fn log(&self) -> Vec<Entry> {
        let mut log = self.book().log.clone();
        log.sort_unstable_by_key(|entry| entry.generation);
        log
    }

    /// Zeroes what has ended. What is still active or open counts as begun anew, so that the books
    /// still balance when it ends.
    pub fn reset(&self) {
        let mut book = self.book();
        let Counts { active, open_connections, .. } = book.counts;
        book.counts = Counts {
            started: active,
            active,
            peak_active: active,
            connections: open_connections,
            open_connections,
            ..Counts::default()
        };
    }

    fn end(&self, number: u64, tokens: Tokens, status: Status, told: bool) {
        let ended_us = self.clock.now_us();
        let mut book = self.book();
        book.counts.active -= 1;
        match status {
            Status::Finished => book.counts.finished += 1,
            Status::Failed => book.counts.failed += 1,
            Status::Cancelled | Status::Active => book.counts.cancelled += 1,
        }
        match told {
            true => book.counts.told += tokens,
            false => book.counts.untold += tokens,
        }
        let tokens_sent = tokens.output;
        if let Some(entry) = book.entry(number) {
            *entry = Entry { status, tokens_sent, ended_us: Some(ended_us), ..*entry };
        }
    }

    fn progress(&self, number: u64, tokens_sent: u64) {
        if let Some(entry) = self.book().entry(number) {
            entry.tokens_sent = tokens_sent;
        }
    }

    fn close_connection(&self) {
        self.book().counts.open_connections -= 1;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing under this lock can panic halfway through a change.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// None once a later generation has taken the place.
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.log.get_mut(slot(number)).filter(|entry| entry.generation == number)
    }
}

fn slot(number: u64) -> usize {
    // Numbers begin at 1, so the log fills from its first place.
    usize::try_from((number - 1) % LOG_LENGTH as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
