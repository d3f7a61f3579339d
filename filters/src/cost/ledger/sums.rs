//! Sums over records: what a roll-up holds. They stop at their most and never wrap.

use rusqlite::Row;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::record::{Counts, Ended, Measured, Record, TOKENS};
use crate::money::Money;
use crate::usage::Tokens;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The beginning of the span that a date lies in, in UTC.
pub const fn start(at: i64, span: i64) -> i64 {
    at.div_euclid(span).saturating_mul(span)
}

/// The first beginning of a span that is not before the date.
pub const fn ceil(at: i64, span: i64) -> i64 {
    let start = start(at, span);
    if start == at { at } else { start.saturating_add(span) }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub requests: u64,
    /// Of them, those whose tokens we counted ourselves.
    pub estimated: u64,
    /// Of them, those that no price is known for: they cost nothing here.
    pub unpriced: u64,
    pub broken: u64,
    pub abandoned: u64,
    pub tokens: Tokens,
    pub cost: Money,
}

/// Columns of sums, in the order in which they are read and written.
pub(super) const COLUMNS: usize = 5 + TOKENS.len() + 1;

pub(super) fn columns() -> [&'static str; COLUMNS] {
    let mut names = [
        "requests",
        "estimated",
        "unpriced",
        "broken",
        "abandoned",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "cost_nanos",
    ];
    names[5..5 + TOKENS.len()].copy_from_slice(&TOKENS);
    names
}

impl Sums {
    pub(super) fn of(record: &Record) -> Self {
        Sums {
            requests: 1,
            estimated: (record.measured == Measured::Estimated).into(),
            unpriced: record.cost.is_none().into(),
            broken: (record.end == Ended::Broken).into(),
            abandoned: (record.end == Ended::Abandoned).into(),
            tokens: record.tokens,
            cost: record.cost.unwrap_or_default(),
        }
    }

    /// So many of these.
    pub(super) fn times(&self, count: u64) -> Self {
        Sums::from_numbers(self.numbers().map(|number| number.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX))))
    }

    pub(super) fn add(&mut self, other: &Sums) {
        let (mut sums, others) = (self.numbers(), other.numbers());
        sums.iter_mut().zip(others).for_each(|(sum, other)| *sum = sum.saturating_add(other));
        *self = Sums::from_numbers(sums);
    }

    /// Each of them fits in what a store holds.
    fn numbers(&self) -> [i64; COLUMNS] {
        let mut numbers = [0; COLUMNS];
        let counts = [self.requests, self.estimated, self.unpriced, self.broken, self.abandoned];
        let all = counts.into_iter().chain(self.tokens.counts()).chain([self.cost.nanos()]);
        numbers.iter_mut().zip(all).for_each(|(number, sum)| *number = i64::try_from(sum).unwrap_or(i64::MAX));
        numbers
    }

    fn from_numbers(numbers: [i64; COLUMNS]) -> Self {
        let numbers = numbers.map(|number| u64::try_from(number).unwrap_or(0));
        let [requests, estimated, unpriced, broken, abandoned, tokens @ .., cost] = numbers;
        let (tokens, cost) = (Tokens::from_counts(tokens), Money::from_nanos(cost));
        Sums { requests, estimated, unpriced, broken, abandoned, tokens, cost }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = Value> {
        self.numbers().into_iter().map(Value::Integer)
    }

    /// Reads the columns from the one at `first` on.
    pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let mut numbers = [0; COLUMNS];
        for (place, number) in numbers.iter_mut().enumerate() {
            *number = row.get(first + place)?;
        }
        Ok(Sums::from_numbers(numbers))
    }
}
