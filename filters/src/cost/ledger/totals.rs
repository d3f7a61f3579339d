//! Sums over any range, from the coarsest roll-ups that answer it: a month of millions of calls in milliseconds.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, Row as Stored, Transaction};

use super::cover::{Kept, Part};
use super::names;
use super::query::{Key, Order, Query, Row, Totals};
use super::record::{Coded, Kind, Series, TOKENS};
use super::retention::CALLS;
use super::sums::{self, Sums, start};

/// Rows that are told apart while they are summed up.
const MOST_ROWS: usize = 200_000;

#[derive(Debug)]
pub(super) enum Failed {
    TooMany,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Failed::Sqlite(error)
    }
}

/// One sum as it is kept.
pub(super) struct Found {
    pub(super) start: i64,
    pub(super) kind: Kind,
    pub(super) sums: Sums,
}

pub(super) fn totals(connection: &mut Connection, query: &Query) -> Result<Totals, Failed> {
    let mut groups: HashMap<Key, Sums> = HashMap::new();
    let mut keys: HashMap<i64, Option<Key>> = HashMap::new();
    let span = query.span();
    let (from, until) = each(connection, (query.from, query.until), span, |transaction, series, found| {
        if !query.wants_kind(found.kind) {
            return Ok(());
        }
        let key = match keys.get(&series) {
            Some(key) => key,
            None => {
                let named = names::read(transaction, series)?;
                let key = query.only.admits(&named).then(|| query.key(&named));
                keys.entry(series).or_insert(key)
            }
        };
        let Some(mut key) = key.clone() else { return Ok(()) };
        key.start = span.map(|span| start(found.start, span));
        key.kind = query.by.contains(&super::Dimension::Kind).then_some(found.kind);
        if groups.len() >= MOST_ROWS && !groups.contains_key(&key) {
            return Err(Failed::TooMany);
        }
        groups.entry(key).or_default().add(&found.sums);
        Ok(())
    })?;
    let mut rows: Vec<Row> = groups.into_iter().map(|(key, sums)| Row { key, sums }).collect();
    rows.sort_by_cached_key(|row| {
        let time = if query.order == Order::Time { row.key.start } else { None };
        // The rest of it, so that equal ledgers give equal answers.
        (time, Reverse(row.sums.cost), Reverse(row.sums.requests), format!("{:?}", row.key))
    });
    let left_out = rows.len().saturating_sub(query.limit);
    rows.truncate(query.limit);
    Ok(Totals { from, until, rows, left_out })
}

/// What calls of a range have cost, with the series of each sum.
pub(super) fn spent(
    connection: &mut Connection,
    range: (i64, i64),
    mut each_sum: impl FnMut(&Series, &Sums),
) -> Result<(i64, i64), Failed> {
    let mut known: HashMap<i64, Series> = HashMap::new();
    each(connection, range, None, |transaction, series, found| {
        if found.kind != Kind::Call {
            return Ok(());
        }
        let series = match known.entry(series) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(names::read(transaction, series)?),
        };
        each_sum(series, &found.sums);
        Ok(())
    })
}

/// Hands on all sums of a range, as of one moment, and gives the range that they are of.
fn each(
    connection: &mut Connection,
    (from, until): (i64, i64),
    coarsest: Option<i64>,
    mut found: impl FnMut(&Transaction<'_>, i64, Found) -> Result<(), Failed>,
) -> Result<(i64, i64), Failed> {
    let transaction = connection.transaction()?;
    let (from, until, parts) = Kept::read(&transaction)?.cover(from, until, coarsest);
    for part in &parts {
        for statement in statements(part) {
            let mut statement = transaction.prepare_cached(&statement)?;
            let mut rows = statement.query([part.from, part.until])?;
            while let Some(row) = rows.next()? {
                let (series, sum) = read(row)?;
                found(&transaction, series, sum)?;
            }
        }
    }
    Ok((from, until))
}

fn read(row: &Stored<'_>) -> rusqlite::Result<(i64, Found)> {
    let (start, series, kind) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let kind = Kind::of_code(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, kind))?;
    Ok((series, Found { start, kind, sums: Sums::read(row, 3)? }))
}

/// Single calls have the same columns as their sums.
fn statements(part: &Part) -> Vec<String> {
    let sums = sums::columns().join(", ");
    if part.span != CALLS {
        let span = part.span;
        return vec![format!(
            "SELECT start, series_id, kind, {sums} FROM rollups WHERE span = {span} AND start >= ? AND start < ?"
        )];
    }
    let tokens = TOKENS.join(", ");
    vec![
        format!(
            "SELECT at, series_id, kind, 1, measured = 1, cost_nanos IS NULL, ended = 1, ended = 2, {tokens},
             ifnull(cost_nanos, 0) FROM calls WHERE at >= ? AND at < ?"
        ),
        format!("SELECT start, series_id, kind, {sums} FROM merged_calls WHERE start >= ? AND start < ?"),
    ]
}
