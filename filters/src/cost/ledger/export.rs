//! Single calls, as CSV or as JSON lines, for whoever sums them up elsewhere.

use std::io::Write;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::Error;
use super::record::{Coded, Ended, Kind, Measured};
use crate::money::Money;
use crate::usage::Service;

/// Calls that are read at a time: in between, the ledger is written on.
const PAGE: i64 = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Milliseconds of unix time: the first that counts, and the first that does not count any more.
    pub from: i64,
    pub until: i64,
    /// None: all kinds.
    pub kind: Option<Kind>,
    pub format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A name that a spreadsheet would take for a formula begins with an apostrophe: clients invent names.
    #[default]
    Csv,
    JsonLines,
}

/// One line. Those with more than one request are sums of a minute, of calls that could not be kept one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub time: String,
    pub kind: String,
    pub requests: u64,
    /// Its digest, in hex.
    pub tenant: String,
    pub model: String,
    pub backend: String,
    pub route: String,
    pub tag: Option<String>,
    pub service: Option<String>,
    pub measured: Option<String>,
    pub ended: Option<String>,
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    pub cache_write_1h_tokens: u64,
    pub audio_input_tokens: u64,
    pub image_input_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub audio_output_tokens: u64,
    pub image_output_tokens: u64,
    /// Exactly; none where no price is known.
    pub cost_usd: Option<String>,
    pub took_ms: Option<u32>,
    pub first_token_ms: Option<u32>,
    pub attempt: Option<u16>,
    pub request_id: Option<String>,
}

pub(super) enum Out<W: Write> {
    Csv(Box<csv::Writer<W>>),
    JsonLines(W),
}

impl<W: Write> Out<W> {
    pub(super) fn new(format: Format, out: W) -> Self {
        match format {
            Format::Csv => Out::Csv(Box::new(csv::Writer::from_writer(out))),
            Format::JsonLines => Out::JsonLines(out),
        }
    }

    pub(super) fn line(&mut self, mut line: Line) -> Result<(), Error> {
        match self {
            Out::Csv(out) => {
                let id = line.request_id.as_mut();
                let names = [Some(&mut line.model), Some(&mut line.backend), line.tag.as_mut(), id];
                names.into_iter().flatten().for_each(disarm);
                out.serialize(&line).map_err(|error| Error::Export(std::io::Error::other(error)))
            }
            Out::JsonLines(out) => {
                serde_json::to_writer(&mut *out, &line).map_err(|error| Error::Export(error.into()))?;
                out.write_all(b"\n").map_err(Error::Export)
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let flushed = match self {
            Out::Csv(mut out) => out.flush(),
            Out::JsonLines(mut out) => out.flush(),
        };
        flushed.map_err(Error::Export)
    }
}

fn disarm(name: &mut String) {
    if name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        name.insert(0, '\'');
    }
}

/// Where a page ends: the next begins after it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    table: Table,
    at: i64,
    id: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Table {
    Calls,
    /// Its rows have no number of their own: pages end between dates.
    Merged,
}

impl Place {
    pub(super) fn beginning(export: &Export) -> Self {
        Place { table: Table::Calls, at: export.from, id: i64::MIN }
    }
}

/// The lines after a place, and the next place, if there may be more.
pub(super) fn page(
    connection: &Connection,
    export: &Export,
    place: Place,
) -> rusqlite::Result<(Vec<Line>, Option<Place>)> {
    let kind = export.kind.map(Coded::code);
    let mut lines = Vec::new();
    let Place { table, at, id } = place;
    if table == Table::Merged {
        // All of one date at once, since there are no more of them than series.
        let mut statement = connection.prepare_cached(MERGED)?;
        let next = "SELECT start FROM merged_calls WHERE start >= ? AND start < ? ORDER BY start LIMIT 1";
        let next: Option<i64> =
            connection.prepare_cached(next)?.query_row([at, export.until], |row| row.get(0)).optional()?;
        let Some(date) = next else { return Ok((lines, None)) };
        let mut rows = statement.query(params![date, kind])?;
        while let Some(row) = rows.next()? {
            lines.push(line(row)?);
        }
        return Ok((lines, Some(Place { at: date.saturating_add(1), ..place })));
    }
    let mut statement = connection.prepare_cached(CALLS)?;
    let mut rows = statement.query(params![at, id, export.until, kind, PAGE])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        lines.push(line(row)?);
        last = Some(Place { table, at: row.get(0)?, id: row.get(25)? });
    }
    let merged = Place { table: Table::Merged, at: export.from, id: 0 };
    Ok((lines, last.or(Some(merged))))
}

const CALLS: &str = "SELECT at, kind, 1, tenant, model, backend, route, tag, service, measured, ended,
    input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens,
    image_input_tokens, output_tokens, reasoning_tokens, audio_output_tokens, image_output_tokens,
    cost_nanos, took_ms, first_token_ms, attempt, call_id, request_id
    FROM calls JOIN series USING (series_id)
    WHERE (at > ?1 OR (at = ?1 AND call_id > ?2)) AND at >= ?1 AND at < ?3 AND (?4 IS NULL OR kind = ?4)
    ORDER BY at, call_id LIMIT ?5";

const MERGED: &str = "SELECT start, kind, requests, tenant, model, backend, route, tag, NULL, NULL, NULL,
    input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens,
    image_input_tokens, output_tokens, reasoning_tokens, audio_output_tokens, image_output_tokens,
    cost_nanos, NULL, NULL, NULL, NULL, NULL
    FROM merged_calls JOIN series USING (series_id) WHERE start = ?1 AND (?2 IS NULL OR kind = ?2)
    ORDER BY series_id, kind";

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    let cost: Option<i64> = row.get(21)?;
    Ok(Line {
        time: time(row.get(0)?),
        kind: word::<Kind>(row, 1)?.unwrap_or_default(),
        requests: count(row, 2)?,
        tenant: row.get(3)?,
        model: row.get(4)?,
        backend: row.get(5)?,
        route: row.get(6)?,
        tag: row.get(7)?,
        service: word::<Service>(row, 8)?,
        measured: word::<Measured>(row, 9)?,
        ended: word::<Ended>(row, 10)?,
        input_tokens: count(row, 11)?,
        cached_input_tokens: count(row, 12)?,
        cache_write_tokens: count(row, 13)?,
        cache_write_1h_tokens: count(row, 14)?,
        audio_input_tokens: count(row, 15)?,
        image_input_tokens: count(row, 16)?,
        output_tokens: count(row, 17)?,
        reasoning_tokens: count(row, 18)?,
        audio_output_tokens: count(row, 19)?,
        image_output_tokens: count(row, 20)?,
        cost_usd: cost.map(|nanos| Money::from_nanos(nanos.cast_unsigned()).to_string()),
        took_ms: row.get(22)?,
        first_token_ms: row.get(23)?,
        attempt: row.get(24)?,
        request_id: row.get(26)?,
    })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|count: i64| u64::try_from(count).unwrap_or(0))
}

fn word<C: Coded>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let code: Option<i64> = row.get(column)?;
    Ok(code.and_then(C::of_code).map(|value| value.word().to_owned()))
}

/// RFC 3339 in UTC, to the millisecond.
fn time(at: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}
