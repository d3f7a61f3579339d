//! What the books say, for the admin port: costs by whatever they are asked to be grouped by.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde_json::{Map, Value, json};

use super::Books;
use super::advice::Cache;
use super::ledger::{self, Dimension, Kind, Only, Order, Query, Row, Sums};
use super::prices::Use;
use crate::money::Money;
use crate::usage::Tokens;
use crate::{Route, Tenant};

/// Rows of one answer at most, and where nothing else is said.
const MOST_ROWS: usize = 10_000;
const ROWS: usize = 100;

/// What is asked, as it stands in a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub from: Option<String>,
    pub until: Option<String>,
    /// Names of dimensions with commas between.
    pub by: Option<String>,
    pub tenant: Option<String>,
    pub model: Option<String>,
    pub backend: Option<String>,
    pub route: Option<String>,
    pub tag: Option<String>,
    pub limit: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    #[error("`{0}` is to be a date, as `2026-11-22`, or a moment, as `2026-11-22T08:00:00Z`, not `{1}`.")]
    Time(&'static str, String),
    #[error("`from` is to be before `until`.")]
    Backwards,
    #[error("Costs are grouped by tenant, model, backend, route, tag, kind, minute, hour or day, not by `{0}`.")]
    Dimension(String),
    #[error("There is no route `{0}`: say its path, as `/v1/chat/completions`.")]
    Route(String),
    #[error("`limit` is to be a number from 1 to {MOST_ROWS}.")]
    Limit,
    #[error("There is no `{0}` here: say from, until, by, tenant, model, backend, route, tag or limit.")]
    Unknown(String),
    #[error("No such tenant: neither a name in [tenants.names] nor 64 hex digits.")]
    NoSuchTenant,
    #[error("The ledger could not be read: {0}")]
    Ledger(#[from] ledger::Error),
}

impl Asked {
    /// # Errors
    /// A name that is none.
    pub fn set(&mut self, name: &str, value: String) -> Result<(), Unclear> {
        let place = match name {
            "from" => &mut self.from,
            "until" => &mut self.until,
            "by" => &mut self.by,
            "tenant" => &mut self.tenant,
            "model" => &mut self.model,
            "backend" => &mut self.backend,
            "route" => &mut self.route,
            "tag" => &mut self.tag,
            "limit" => &mut self.limit,
            other => return Err(Unclear::Unknown(other.to_owned())),
        };
        *place = Some(value);
        Ok(())
    }
}

impl Books {
    /// Costs of a time, the last 24 hours if none is said, by model if nothing else is said. Reads the ledger: blocks.
    pub fn costs(&self, asked: &Asked) -> Result<Value, Unclear> {
        let now = ledger::now();
        let until = self.moment("until", asked.until.as_deref())?.unwrap_or(now + 1);
        let from = self.moment("from", asked.from.as_deref())?.unwrap_or(until - ledger::DAY);
        self.between(asked, from, until)
    }

    /// Costs of this day, as the time zone of the settings has it.
    pub fn costs_today(&self, asked: &Asked) -> Result<Value, Unclear> {
        let now = ledger::now();
        let day = self.zoned(now).date();
        let from = midnight(day, &self.zone).ok_or_else(|| Unclear::Time("from", day.to_string()))?;
        self.between(asked, from, now + 1)
    }

    fn between(&self, asked: &Asked, from: i64, until: i64) -> Result<Value, Unclear> {
        if from >= until {
            return Err(Unclear::Backwards);
        }
        let limit = match &asked.limit {
            None => ROWS,
            Some(limit) => limit.parse().ok().filter(|limit| (1..=MOST_ROWS).contains(limit)).ok_or(Unclear::Limit)?,
        };
        let by = dimensions(asked.by.as_deref().unwrap_or("model"))?;
        let only = self.only(asked)?;
        let order = if by.iter().any(is_span) { Order::Time } else { Order::Cost };
        let totals = self.ledger.totals(&Query { from, until, by: by.clone(), only: only.clone(), order, limit })?;
        // What was saved was not paid: it stands apart, whatever is grouped by.
        let kinds = self.ledger.totals(&Query { by: vec![Dimension::Kind], only, ..Query::new(from, until) })?;
        let of = |kind: Kind| kinds.rows.iter().find(|row| row.key.kind == Some(kind)).map(|row| row.sums);
        let told = |kind: Kind| tell(&of(kind).unwrap_or_default());
        Ok(json!({
            "from": moment(totals.from),
            "until": moment(totals.until),
            "by": by,
            "total": told(Kind::Call),
            "saved": { "cache": told(Kind::CacheSaving), "dedup": told(Kind::DedupSaving) },
            "rows": totals.rows.iter().map(|row| self.row(row, &by)).collect::<Vec<_>>(),
            "left_out": totals.left_out,
        }))
    }

    fn only(&self, asked: &Asked) -> Result<Only, Unclear> {
        let tenant = match &asked.tenant {
            None => None,
            Some(name) => {
                let known = self.names.tenant(name).or_else(|| Tenant::with_digest(name));
                Some(known.ok_or(Unclear::NoSuchTenant)?)
            }
        };
        let route = match &asked.route {
            None => None,
            Some(path) => {
                let route = Route::ALL.into_iter().find(|route| route.path() == path);
                Some(route.ok_or_else(|| Unclear::Route(path.clone()))?)
            }
        };
        let name = |name: &Option<String>| name.as_deref().map(Box::from);
        let [model, backend, tag] = [&asked.model, &asked.backend, &asked.tag].map(name);
        Ok(Only { tenant, model, backend, route, tag, kind: None })
    }

    fn row(&self, row: &Row, by: &[Dimension]) -> Value {
        let key = &row.key;
        let mut told = Map::new();
        for dimension in by {
            let word: Value = match dimension {
                Dimension::Tenant => key.tenant.map(|tenant| self.names.of(&tenant)).into(),
                Dimension::Model => key.model.as_deref().into(),
                Dimension::Backend => key.backend.as_deref().into(),
                Dimension::Route => key.route.map(Route::path).into(),
                Dimension::Tag => key.tag.as_deref().into(),
                Dimension::Kind => json!(key.kind),
                Dimension::Minute | Dimension::Hour | Dimension::Day => key.start.map(moment).into(),
            };
            if let Value::String(name) = json!(dimension) {
                told.insert(name, word);
            }
            if let (Dimension::Tenant, Some(tenant)) = (dimension, key.tenant) {
                told.insert("tenant_digest".to_owned(), tenant.hex().into());
            }
        }
        if let Value::Object(sums) = tell(&row.sums) {
            told.extend(sums);
        }
        Value::Object(told)
    }

    /// Recommendations: where money could be saved.
    pub fn recommendations(&self, cache: Cache) -> Value {
        let reprice = |model: &str, tokens: &Tokens| -> Option<Money> {
            Some(self.price(model, "")?.cost(&Use { tokens: *tokens, ..Use::default() }))
        };
        self.advice.report(&reprice, cache)
    }

    /// The budgets with what is spent of them, one tenant's or everybody's.
    pub fn budgets(&self, tenant: Option<&str>) -> Result<Value, Unclear> {
        let tenant = match tenant {
            None => None,
            Some(name) => {
                let known = self.names.tenant(name).or_else(|| Tenant::with_digest(name));
                Some(known.ok_or(Unclear::NoSuchTenant)?)
            }
        };
        Ok(self.budgets.report(tenant.as_ref()))
    }

    fn zoned(&self, at: i64) -> Zoned {
        Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(self.zone.clone())
    }

    fn moment(&self, name: &'static str, text: Option<&str>) -> Result<Option<i64>, Unclear> {
        moment_of(name, text, &self.zone)
    }
}

pub fn utc() -> TimeZone {
    TimeZone::UTC
}

/// A date or a moment in Unix milliseconds. A date is its midnight, and as an end the midnight after it.
///
/// # Errors
/// It is neither.
pub fn moment_of(name: &'static str, text: Option<&str>, zone: &TimeZone) -> Result<Option<i64>, Unclear> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || Unclear::Time(name, text.to_owned());
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Some(moment.as_millisecond()));
    }
    let day: Date = text.parse().map_err(|_| wrong())?;
    // Until a day means until its end.
    let day = if name == "until" { day.checked_add(1.day()).map_err(|_| wrong())? } else { day };
    midnight(day, zone).map(Some).ok_or_else(wrong)
}

/// When a day begins.
fn midnight(day: Date, zone: &TimeZone) -> Option<i64> {
    Some(day.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
}

fn tell(sums: &Sums) -> Value {
    json!({
        "requests": sums.requests,
        "estimated": sums.estimated,
        "unpriced": sums.unpriced,
        "broken": sums.broken,
        "abandoned": sums.abandoned,
        "tokens": sums.tokens,
        "cost_usd": sums.cost.usd(),
        "cost_nanousd": sums.cost.nanos(),
    })
}

const fn is_span(dimension: &Dimension) -> bool {
    matches!(dimension, Dimension::Minute | Dimension::Hour | Dimension::Day)
}

fn dimensions(names: &str) -> Result<Vec<Dimension>, Unclear> {
    let mut by = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let dimension: Dimension =
            serde_json::from_value(json!(name)).map_err(|_| Unclear::Dimension(name.to_owned()))?;
        if !by.contains(&dimension) {
            by.push(dimension);
        }
    }
    Ok(by)
}

fn moment(at: i64) -> String {
    Timestamp::from_millisecond(at).unwrap_or_default().to_string()
}
