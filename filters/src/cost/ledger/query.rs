//! What can be asked of the ledger, and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{Kind, Series};
use super::sums::{DAY, HOUR, MINUTE, Sums};
use crate::{Route, Tenant};

/// Sums over calls, each group a row.
#[derive(Clone, Debug)]
pub struct Query {
    /// Milliseconds of unix time: the first that counts, and the first that does not count any more.
    pub from: i64,
    pub until: i64,
    pub by: Vec<Dimension>,
    pub only: Only,
    pub order: Order,
    /// The most rows that are given: the first by the order.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    Tenant,
    Model,
    Backend,
    Route,
    Tag,
    Kind,
    /// Spans begin in UTC. Of several the shortest holds.
    Minute,
    Hour,
    Day,
}

/// What counts. What is none is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Only {
    pub tenant: Option<Tenant>,
    pub model: Option<Box<str>>,
    pub backend: Option<Box<str>>,
    pub route: Option<Route>,
    pub tag: Option<Box<str>>,
    /// None means calls, or, where rows are told apart by it, every kind: what was saved is never added to what was
    /// spent.
    pub kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The dearest first.
    #[default]
    Cost,
    /// The earliest first, and the dearest of them.
    Time,
}

/// The answer to a [`Query`], with the range that it is exact for. That begins or ends earlier or later than was asked
/// where what is kept is coarser: calls say the millisecond, and after them minutes, hours and at last days are all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    pub from: i64,
    pub until: i64,
    pub rows: Vec<Row>,
    /// Rows beyond the limit.
    pub left_out: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Key,
    pub sums: Sums,
}

/// What a row stands for: what it is not grouped by is none. A tag is none for calls without one, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where its span begins. Where no span as short is kept any more, the one that is.
    pub start: Option<i64>,
    pub tenant: Option<Tenant>,
    pub model: Option<Arc<str>>,
    pub backend: Option<Arc<str>>,
    pub route: Option<Route>,
    pub tag: Option<Arc<str>>,
    pub kind: Option<Kind>,
}

impl Query {
    /// All calls of a range, told apart by nothing.
    pub fn new(from: i64, until: i64) -> Self {
        let (by, only, order) = (Vec::new(), Only::default(), Order::default());
        Query { from, until, by, only, order, limit: usize::MAX }
    }

    /// The span by which rows are told apart.
    pub(super) fn span(&self) -> Option<i64> {
        let spans = [(Dimension::Minute, MINUTE), (Dimension::Hour, HOUR), (Dimension::Day, DAY)];
        spans.into_iter().find(|(dimension, _)| self.by.contains(dimension)).map(|(_, span)| span)
    }

    pub(super) fn wants_kind(&self, kind: Kind) -> bool {
        match self.only.kind {
            Some(only) => only == kind,
            None => kind == Kind::Call || self.by.contains(&Dimension::Kind),
        }
    }

    pub(super) fn key(&self, series: &Series) -> Key {
        let mut key = Key::default();
        for dimension in &self.by {
            match dimension {
                Dimension::Tenant => key.tenant = Some(series.tenant),
                Dimension::Model => key.model = Some(series.model.clone()),
                Dimension::Backend => key.backend = Some(series.backend.clone()),
                Dimension::Route => key.route = Some(series.route),
                Dimension::Tag => key.tag = series.tag.clone(),
                Dimension::Kind | Dimension::Minute | Dimension::Hour | Dimension::Day => {}
            }
        }
        key
    }
}

impl Only {
    pub(super) fn admits(&self, series: &Series) -> bool {
        let is = |only: &Option<Box<str>>, name: Option<&str>| only.is_none() || only.as_deref() == name;
        self.tenant.is_none_or(|tenant| tenant == series.tenant)
            && self.route.is_none_or(|route| route == series.route)
            && is(&self.model, Some(&series.model))
            && is(&self.backend, Some(&series.backend))
            && is(&self.tag, series.tag.as_deref())
    }
}
