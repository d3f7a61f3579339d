//! The tables of the file. Anybody may open it with `sqlite3`: views say in words and dollars what tables say in numbers.

use std::fmt::Write;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::Error;
use super::record::{Coded, Ended, Kind, Measured, TOKENS};
use super::sums;
use crate::usage::Service;

/// Marks the file as a ledger and as nobody else's.
pub(super) const APPLICATION: i32 = 0x4F75_744C;
/// Counts up with every change of the tables.
pub(super) const VERSION: i32 = 1;

/// Makes the tables in an empty file.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    let tokens: String = TOKENS.iter().map(|name| format!("  {name} INTEGER NOT NULL,\n")).collect();
    let sums: String = sums::columns().iter().map(|name| format!("  {name} INTEGER NOT NULL,\n")).collect();
    connection.execute_batch(&format!(
        "BEGIN;
-- Who asked for what, where: the names that calls and roll-ups are kept under. `first_at` is when it was first seen.
CREATE TABLE series (
  series_id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  model TEXT NOT NULL,
  backend TEXT NOT NULL,
  route TEXT NOT NULL,
  tag TEXT,
  first_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX series_by_names ON series (tenant, model, backend, route, coalesce(tag, ''));
-- Every call, with the unix time of its end in milliseconds. Words for numbers are in `calls_view`.
-- `cost_nanos` are nano-dollars; NULL where no price is known.
CREATE TABLE calls (
  call_id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  series_id INTEGER NOT NULL REFERENCES series,
  kind INTEGER NOT NULL,
  service INTEGER NOT NULL,
  measured INTEGER NOT NULL,
  ended INTEGER NOT NULL,
{tokens}  cost_nanos INTEGER,
  took_ms INTEGER NOT NULL,
  first_token_ms INTEGER,
  attempt INTEGER NOT NULL,
  request_id TEXT
);
CREATE INDEX calls_by_time ON calls (at);
-- Sums of calls by span: a minute, an hour or a day of UTC, from `start` on, in milliseconds.
CREATE TABLE rollups (
  span INTEGER NOT NULL,
  start INTEGER NOT NULL,
  series_id INTEGER NOT NULL REFERENCES series,
  kind INTEGER NOT NULL,
{sums}  PRIMARY KEY (span, start, series_id, kind)
) WITHOUT ROWID;
-- Calls of which only their sums by minute are known: those that were saved, and those for which the disk was away for too long.
CREATE TABLE merged_calls (
  start INTEGER NOT NULL,
  series_id INTEGER NOT NULL REFERENCES series,
  kind INTEGER NOT NULL,
{sums}  PRIMARY KEY (start, series_id, kind)
) WITHOUT ROWID;
-- Who writes it: budgets that several sidecars share know it by this name.
CREATE TABLE sidecar (identity TEXT NOT NULL);
INSERT INTO sidecar VALUES (lower(hex(randomblob(16))));
-- From when on everything is still there: calls (span 0) and roll-ups of each span.
CREATE TABLE kept (span INTEGER PRIMARY KEY, since INTEGER NOT NULL);
INSERT INTO kept VALUES (0, 0), ({minute}, 0), ({hour}, 0), ({day}, 0);
{views}
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;",
        minute = sums::MINUTE,
        hour = sums::HOUR,
        day = sums::DAY,
        views = views(),
    ))
}

fn views() -> String {
    let tokens = TOKENS.join(", ");
    let (kind, service) = (words::<Kind>("kind"), words::<Service>("service"));
    let (measured, ended) = (words::<Measured>("measured"), words::<Ended>("ended"));
    let mut views = format!(
        "CREATE VIEW calls_view AS SELECT call_id, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS time,
  {kind}, tenant, model, backend, route, tag, {service}, {measured}, {ended}, {tokens},
  cost_nanos / 1e9 AS dollars, took_ms, first_token_ms, attempt, request_id
FROM calls JOIN series USING (series_id);\n"
    );
    for (name, span) in [("minutes_view", sums::MINUTE), ("hours_view", sums::HOUR), ("days_view", sums::DAY)] {
        // Into a string this can't fail.
        let _ = writeln!(
            views,
            "CREATE VIEW {name} AS SELECT strftime('%Y-%m-%dT%H:%M:%SZ', start / 1000, 'unixepoch') AS time,
  {kind}, tenant, model, backend, route, tag, requests, estimated, unpriced, broken, abandoned, {tokens},
  cost_nanos / 1e9 AS dollars
FROM rollups JOIN series USING (series_id) WHERE span = {span};"
        );
    }
    views
}

fn words<C: Coded>(column: &str) -> String {
    let cases: String = C::WORDS.iter().map(|(value, word)| format!(" WHEN {} THEN '{word}'", value.code())).collect();
    format!("CASE {column}{cases} END AS {column}")
}

/// Refuses what is no ledger, or one of a newer version, and what is damaged where it must be whole.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let damaged = |error| Error::of(path, error);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(damaged);
    if number("application_id")? != APPLICATION {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let version = number("user_version")?;
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), version });
    }
    // The names alone are read as a whole: everything hangs on them, and they are few.
    let problem: String =
        connection.query_row("PRAGMA quick_check('series')", [], |row| row.get(0)).map_err(damaged)?;
    if problem != "ok" {
        return Err(Error::Damaged { path: path.to_owned(), reason: problem });
    }
    // Of what is large, both ends: a file that was cut or overwritten shows there first.
    for end in [
        "SELECT min(at) FROM calls",
        "SELECT max(at) FROM calls",
        "SELECT took_ms FROM calls ORDER BY call_id LIMIT 1",
        "SELECT took_ms FROM calls ORDER BY call_id DESC LIMIT 1",
        "SELECT min(span) FROM rollups",
        "SELECT max(span) FROM rollups",
        "SELECT min(since) FROM kept",
    ] {
        let read = connection.query_row(end, [], |row| row.get::<_, Option<i64>>(0));
        read.optional().map_err(damaged)?;
    }
    Ok(())
}
