//! One transaction: records, and their sums by minute, hour and day. They can never disagree, since they come together.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior, params_from_iter};

use super::names::Names;
use super::pending::Merged;
use super::record::{Coded, Counts, Kind, Record, TOKENS};
use super::sums::{self, DAY, HOUR, MINUTE, Sums, start};

/// Sums by the beginning of their span, series and kind.
type Groups = HashMap<(i64, i64, Kind), Sums>;

/// The statements of a batch, written once.
pub(super) struct Statements {
    call: String,
    rollup: String,
    merged: String,
}

impl Statements {
    pub(super) fn new() -> Self {
        let call = ["at", "series_id", "kind", "service", "measured", "ended"].into_iter().chain(TOKENS).chain([
            "cost_nanos",
            "took_ms",
            "first_token_ms",
            "attempt",
            "request_id",
        ]);
        let upsert = |table, keys: &[&'static str]| {
            let all = keys.iter().copied().chain(sums::columns());
            // A sum that would overflow stops at its most: SQLite would make it an inexact number.
            let add = |name| format!("{name} = {name} + min(excluded.{name}, {} - {name})", i64::MAX);
            let added = sums::columns().map(add).join(", ");
            format!("{} ON CONFLICT DO UPDATE SET {added}", insert(table, all))
        };
        Statements {
            call: insert("calls", call),
            rollup: upsert("rollups", &["span", "start", "series_id", "kind"]),
            merged: upsert("merged_calls", &["start", "series_id", "kind"]),
        }
    }
}

fn insert<'name>(table: &str, columns: impl Iterator<Item = &'name str>) -> String {
    let columns: Vec<&str> = columns.collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), vec!["?"; columns.len()].join(", "))
}

/// Writes all of it or nothing. Gives how many of the series had to be counted with others.
pub(super) fn write(
    connection: &mut Connection,
    statements: &Statements,
    names: &mut Names,
    (records, merged): (&[Record], &Merged),
    now: i64,
) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut minutes, mut others) = (Groups::new(), 0);
    {
        let mut insert = transaction.prepare_cached(&statements.call)?;
        for record in records {
            let named = names.name(&transaction, &record.series, now)?;
            others += u64::from(!named.is_itself);
            insert.execute(params_from_iter(values(record, named.id)))?;
            let key = (start(record.at, MINUTE), named.id, record.kind);
            minutes.entry(key).or_default().add(&Sums::of(record));
        }
        let mut upsert = transaction.prepare_cached(&statements.merged)?;
        for ((at, kind, series), sums) in merged {
            let named = names.name(&transaction, series, now)?;
            let keys = [*at, named.id, kind.code()].map(Value::Integer);
            upsert.execute(params_from_iter(keys.into_iter().chain(sums.values())))?;
            minutes.entry((*at, named.id, *kind)).or_default().add(sums);
        }
        let mut upsert = transaction.prepare_cached(&statements.rollup)?;
        let hours = coarser(&minutes, HOUR);
        for (span, groups) in [(DAY, &coarser(&hours, DAY)), (HOUR, &hours), (MINUTE, &minutes)] {
            for ((start, series, kind), sums) in groups {
                let keys = [span, *start, *series, kind.code()].map(Value::Integer);
                upsert.execute(params_from_iter(keys.into_iter().chain(sums.values())))?;
            }
        }
    }
    transaction.commit()?;
    Ok(others)
}

fn coarser(groups: &Groups, span: i64) -> Groups {
    let mut coarser = Groups::new();
    for ((at, series, kind), sums) in groups {
        coarser.entry((start(*at, span), *series, *kind)).or_default().add(sums);
    }
    coarser
}

fn values(record: &Record, series: i64) -> impl Iterator<Item = Value> {
    let codes = [record.kind.code(), record.service.code(), record.measured.code(), record.end.code()];
    let counts = record.tokens.counts().map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let cost = record.cost.map(|cost| i64::try_from(cost.nanos()).unwrap_or(i64::MAX));
    let first_token = record.first_token_ms.map(i64::from);
    let id = record.request_id.as_deref().map_or(Value::Null, |id| Value::Text(id.to_owned()));
    let maybe = |number: Option<i64>| number.map_or(Value::Null, Value::Integer);
    [record.at, series].into_iter().chain(codes).chain(counts).map(Value::Integer).chain([
        maybe(cost),
        record.took_ms.into(),
        maybe(first_token),
        i64::from(record.attempt).into(),
        id,
    ])
}
