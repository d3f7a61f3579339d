//! Every paid call, written down once: what is appended is on disk a moment later, and a killed process loses no more
//! than that moment.
//!
//! It is a file of SQLite that anybody can open with `sqlite3`, by its owner. One thread writes: every
//! `ledger_flush_ms` it takes what has gathered and commits the records and their sums by minute, hour and day
//! together, so that they can never disagree. Appending waits for nothing. A commit is in the hands of the operating
//! system, which keeps it when the process is killed; when the machine itself dies, what the system had not put on
//! disk yet is lost, and the file is whole still.
//!
//! While the disk is full or away, records wait in memory; beyond two hundred thousand they are added up by minute and
//! series, so that what they were is lost and what they cost is not.

mod batch;
mod checkpoint;
mod cover;
mod export;
mod file;
pub mod handover;
mod meters;
mod names;
mod pending;
mod query;
mod record;
mod retention;
mod schema;
mod sums;
mod totals;
mod writer;

use std::io::Write;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use rusqlite::{Connection, ErrorCode};
use serde::Deserialize;

pub use export::{Export, Format, Line};
pub use names::OTHERS;
pub use query::{Dimension, Key, Only, Order, Query, Row, Totals};
pub use record::{Ended, Kind, MAX_NAME_BYTES, Measured, Record, Series};
pub use sums::Sums;

use handover::{Heir, News};
use pending::{Haste, Pending};
use retention::Retention;
pub use sums::DAY;
use sums::{HOUR, MINUTE};
use writer::{Writer, lock};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file that calls are written to, with a log beside it; its folder is made if that alone is missing. Made
    /// readable by its owner only. Empty: all is kept in memory, within bounds, and gone with the process.
    pub ledger_path: PathBuf,
    /// How often what has gathered is written: a killed process loses no more than this and the time of one commit.
    pub ledger_flush_ms: NonZeroU32,
    /// How many days single calls are kept, beside today. Sums over older ranges have edges of minutes or hours.
    pub keep_calls_days: u32,
    /// How many days sums by minute are kept, beside today.
    pub keep_minutes_days: u32,
    /// How many days sums by hour are kept, beside today. Sums by day are kept for ever.
    pub keep_hours_days: u32,
    /// How many calls are kept where all is in memory: the oldest go first. Of each kind of sums fifty thousand are.
    pub ledger_memory_calls: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ledger_path: PathBuf::new(),
            ledger_flush_ms: NonZeroU32::MIN.saturating_add(49),
            keep_calls_days: 30,
            keep_minutes_days: 2,
            keep_hours_days: 90,
            ledger_memory_calls: 100_000,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cost.ledger_path: the folder {path} can't be used: {error}")]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("cost.ledger_path: {path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("cost.ledger_path: {path} is in use by another process: every process needs a ledger of its own")]
    Taken { path: PathBuf },
    #[error(
        "cost.ledger_path: {path} is damaged ({reason}): put a copy of it back, or move it away to begin a new one; \
         `sqlite3 {path} .recover` shows what can be saved of it"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "cost.ledger_path: {path} is not there, but its log {log} is: put the file back, or move the log away to begin \
         a new one"
    )]
    Gone { path: PathBuf, log: PathBuf },
    #[error("cost.ledger_path: {path} is a database, but not a ledger: name another file")]
    Foreign { path: PathBuf },
    #[error("cost.ledger_path: {path} is of a newer version ({version}) than this one can read")]
    Newer { path: PathBuf, version: i32 },
    #[error("cost.ledger_path: {path}: {error}")]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("the ledger's thread could not be started: {0}")]
    Thread(std::io::Error),
    #[error("the export could not be written: {0}")]
    Export(std::io::Error),
    #[error("more rows than can be told apart: ask for a shorter time, or by less")]
    TooMany,
}

impl Error {
    fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Error::Damaged { path, reason: error.to_string() }
            }
            _ => Error::Sqlite { path, error },
        }
    }
}

pub struct Ledger {
    pending: Arc<Pending>,
    place: Place,
    writer: Option<JoinHandle<()>>,
    /// Ends the thread at the other end when it is dropped.
    checkpointer: Option<(Sender<()>, JoinHandle<()>)>,
    heir: Heir,
    lock: Option<file::Lock>,
}

/// Where it is read from.
enum Place {
    File(PathBuf),
    /// There is but one connection to what is in memory.
    Memory(Arc<Mutex<Connection>>),
}

impl Ledger {
    /// Opens the file, or makes it if there is none. What a killed process left is found again. A file that is damaged,
    /// or that another process has, is an error and stays as it is.
    pub fn open(config: &Config, meter: &Meter) -> Result<Arc<Self>, Error> {
        Ledger::open_beside(config, meter, None)
    }

    /// The same, beside another process that has it open and has handed over its lock.
    pub fn open_beside(config: &Config, meter: &Meter, handed: Option<OwnedFd>) -> Result<Arc<Self>, Error> {
        if config.ledger_path.as_os_str().is_empty() {
            let connection = file::in_memory().map_err(|error| Error::of(Path::new("(memory)"), error))?;
            let connection = Arc::new(Mutex::new(connection));
            return Ledger::start(config, meter, Place::Memory(connection.clone()), connection, None);
        }
        let path = file::locate(&config.ledger_path)?;
        let lock = match handed.and_then(|fd| file::handed(&path, fd)) {
            Some(lock) => lock,
            None => file::lock(&path)?,
        };
        let connection = Arc::new(Mutex::new(file::open(&path)?));
        Ledger::start(config, meter, Place::File(path), connection, Some(lock))
    }

    /// Opens a file to read only, whoever writes it.
    pub fn read_only(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        // Whether it can be read at all is said at once.
        file::reader(&path).map_err(|error| Error::of(&path, error))?;
        let pending = Arc::default();
        let heir = Heir::default();
        Ok(Ledger { pending, place: Place::File(path), writer: None, checkpointer: None, heir, lock: None })
    }

    fn start(
        config: &Config,
        meter: &Meter,
        place: Place,
        connection: Arc<Mutex<Connection>>,
        lock: Option<file::Lock>,
    ) -> Result<Arc<Self>, Error> {
        let pending = Arc::<Pending>::default();
        meters::observe(meter, &pending);
        let days = |days: u32| i64::from(days) * DAY;
        let ages = [
            (retention::CALLS, days(config.keep_calls_days)),
            (MINUTE, days(config.keep_minutes_days)),
            (HOUR, days(config.keep_hours_days)),
        ];
        let in_memory = matches!(place, Place::Memory(_));
        let most_calls = in_memory.then_some(config.ledger_memory_calls.into());
        let writer = Writer {
            pending: pending.clone(),
            connection,
            flush: Duration::from_millis(config.ledger_flush_ms.get().into()),
            retention: Retention { ages, most_calls, next: 0 },
            meters: meters::Meters::new(meter),
            names: None,
            statements: batch::Statements::new(),
            trouble: None,
        };
        let checkpointer = match &place {
            Place::File(path) => {
                let (end, ended) = std::sync::mpsc::channel();
                let path = path.clone();
                Some((end, thread("ledger-checkpoint", move || checkpoint::run(&path, &ended))?))
            }
            Place::Memory(_) => None,
        };
        let writer = Some(thread("ledger", move || writer.run())?);
        Ok(Arc::new(Ledger { pending, place, writer, checkpointer, heir: Heir::default(), lock }))
    }

    /// Takes a record to be written soon. Waits for nothing and never fails.
    pub fn append(&self, record: Record) {
        let record = record.bounded();
        match &*self.heir.now() {
            None => self.pending.append(record),
            Some(tell) => tell(News::Call(Box::new(record))),
        }
    }

    /// Takes calls that were not made, each like the others, since somebody knew the answer. They are added up by minute: a
    /// cache answers too often for a record of each.
    pub fn save(&self, kind: Kind, series: Series, each: &Sums, calls: u64) {
        let (at, series, sums) = (now(), series.bounded(), each.times(calls));
        match &*self.heir.now() {
            None => self.pending.add_up(at, kind, series, &sums),
            Some(tell) => tell(News::Saved { at, kind, series, sums: Box::new(sums) }),
        }
    }

    /// The name of whoever writes this ledger: it lives as long as the file.
    pub fn identity(&self) -> Result<String, Error> {
        self.read(|connection| Ok(connection.query_row("SELECT identity FROM sidecar", [], |row| row.get(0))?))
    }

    /// Waits until all that was appended before is written, on a thread that may wait. False where it is not by then,
    /// since the disk does not take it.
    pub fn flush(&self, most: Duration) -> bool {
        self.pending.wait_written(most)
    }

    /// How many records are appended and not written yet.
    pub fn pending(&self) -> u64 {
        self.pending.waiting()
    }

    /// Sums over a range, of all that is written; what was appended within the last moment may be missing. Reads from
    /// disk, so it belongs on a thread that may wait.
    pub fn totals(&self, query: &Query) -> Result<Totals, Error> {
        self.read(|connection| totals::totals(connection, query))
    }

    /// What calls have cost from the one date on and before the other: hands on sums, many of them for one series, and
    /// gives the range that they are of, as [`Ledger::totals`] does.
    pub fn spent(&self, since: i64, until: i64, each: impl FnMut(&Series, &Sums)) -> Result<(i64, i64), Error> {
        self.read(|connection| totals::spent(connection, (since, until), each))
    }

    /// Writes out single calls in the order of their time, and gives how many lines they are. Calls that are added up,
    /// since the disk was away for too long, come last.
    pub fn export(&self, export: &Export, out: impl Write) -> Result<u64, Error> {
        let (mut out, mut count) = (export::Out::new(export.format, out), 0);
        let mut next = Some(export::Place::beginning(export));
        while let Some(place) = next {
            let (lines, following) =
                self.read(|connection| export::page(connection, export, place).map_err(totals::Failed::Sqlite))?;
            for line in lines {
                count += 1;
                out.line(line)?;
            }
            next = following;
        }
        out.finish()?;
        Ok(count)
    }

    fn read<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T, totals::Failed>) -> Result<T, Error> {
        let (path, outcome) = match &self.place {
            Place::Memory(connection) => (Path::new("(memory)"), read(&mut lock(connection))),
            Place::File(path) => {
                (path.as_path(), file::reader(path).map_err(Into::into).and_then(|mut reader| read(&mut reader)))
            }
        };
        outcome.map_err(|failed| match failed {
            totals::Failed::TooMany => Error::TooMany,
            totals::Failed::Sqlite(error) => Error::of(path, error),
        })
    }
}

impl Drop for Ledger {
    /// Writes what waits, if the disk takes it at once.
    fn drop(&mut self) {
        self.pending.hasten(Haste::Last);
        if let Some((end, thread)) = self.checkpointer.take() {
            drop(end);
            drop(thread.join());
        }
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Error::Thread)
}

/// Milliseconds of unix time.
pub fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the ledger is read in years: a date is meant")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
