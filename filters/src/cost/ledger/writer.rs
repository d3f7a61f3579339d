//! The thread that writes: what has gathered goes to disk every `ledger_flush_ms`, and is tried again until it is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

use super::batch::{self, Statements};
use super::meters::{self, Meters};
use super::names::Names;
use super::pending::{Haste, Merged, Pending};
use super::record::{Kind, Record};
use super::retention::{Retention, Step};

/// Records of one transaction, at most.
const BATCH: usize = 10_000;
/// Room that is kept for the next records when many have waited.
const SPARE: usize = 10_000;
const IDLE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    pub(super) pending: Arc<Pending>,
    pub(super) connection: Arc<Mutex<Connection>>,
    pub(super) flush: Duration,
    pub(super) retention: Retention,
    pub(super) meters: Meters,
    pub(super) names: Option<Names>,
    pub(super) statements: Statements,
    pub(super) trouble: Option<Instant>,
}

impl Writer {
    pub(super) fn run(mut self) {
        let mut spare = Vec::new();
        let mut last = Instant::now();
        let mut step = Step::Idle;
        loop {
            let idle = if step == Step::More { self.flush } else { IDLE };
            let mut haste = self.pending.wait_filled(idle);
            if haste == Haste::None {
                haste = self.pending.wait_turn(last + self.flush);
            }
            last = Instant::now();
            let (mut records, merged) = self.pending.take(spare);
            self.write_all(&records, merged);
            if haste == Haste::Last {
                return;
            }
            step = self.retain();
            records.clear();
            records.shrink_to(SPARE);
            spare = records;
        }
    }

    fn write_all(&mut self, records: &[Record], merged: Merged) {
        for records in records.chunks(BATCH) {
            self.write_surely(records, &Merged::new());
        }
        if !merged.is_empty() {
            // What was saved is added up on purpose.
            let calls = merged.keys().filter(|(_, kind, _)| *kind == Kind::Call).count();
            if calls > 0 {
                tracing::warn!(sums = calls, "too many records waited for the ledger's disk: some are only sums now");
            }
            self.write_surely(&[], &merged);
        }
    }

    /// Tries until it is written, or until the ledger is closed over it.
    fn write_surely(&mut self, records: &[Record], merged: &Merged) {
        let added_up = merged.values().map(|sums| sums.requests).sum();
        let mut pause = RETRY;
        loop {
            let begun = Instant::now();
            match self.write(records, merged) {
                Ok(others) => {
                    self.meters.commit.record(begun.elapsed().as_secs_f64());
                    self.meters.records.add(records.len() as u64 + added_up, &[]);
                    self.meters.others.add(others, &[]);
                    self.pending.written(records.len(), added_up);
                    self.well();
                    return;
                }
                Err(error) => self.ill(&error),
            }
            if self.pending.pause(pause) == Haste::Last {
                // One more try of its own for what is left, and no pauses.
                match self.write(records, merged) {
                    Ok(_) => self.pending.written(records.len(), added_up),
                    Err(error) => {
                        let lost = records.len() as u64 + added_up;
                        tracing::error!(%error, lost, "the ledger was closed before its disk worked: records are lost");
                    }
                }
                return;
            }
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    fn write(&mut self, records: &[Record], merged: &Merged) -> rusqlite::Result<u64> {
        let now = super::now();
        let mut connection = lock(&self.connection);
        let mut names = match self.names.take() {
            Some(names) => names,
            None => Names::load(&connection, now)?,
        };
        let others = batch::write(&mut connection, &self.statements, &mut names, (records, merged), now)?;
        // Only now: numbers that a failed transaction gave are nobody's.
        self.names = Some(names);
        Ok(others)
    }

    fn retain(&mut self) -> Step {
        let step = self.retention.step(&mut lock(&self.connection), super::now());
        match step {
            Ok(Step::Renamed) => {
                self.names.iter_mut().for_each(Names::forget);
                Step::Idle
            }
            Ok(step) => step,
            Err(error) => {
                self.ill(&error);
                Step::Idle
            }
        }
    }

    fn ill(&mut self, error: &rusqlite::Error) {
        self.meters.error(error);
        if self.trouble.is_none() {
            self.trouble = Some(Instant::now());
            let kind = meters::kind(error);
            tracing::error!(%error, kind, "the ledger can't be written: records wait in memory until it can");
        }
    }

    fn well(&mut self) {
        if let Some(since) = self.trouble.take() {
            let away_ms = since.elapsed().as_millis() as u64;
            tracing::info!(away_ms, "the ledger is written again");
        }
    }
}

pub(super) fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
