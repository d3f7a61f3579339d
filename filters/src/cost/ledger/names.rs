//! The numbers that series are kept under: each is looked up in the file once, and remembered within a bound.
//!
//! Clients invent models and tags, and what a day has been counted under is kept for ever. So a day takes only so many
//! new series, and of one tenant only so many: those that come after are counted under `(others)`, first in the
//! place of their tag, then of their model, and last of their tenant. Money is never lost by it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::record::Series;
use super::sums::{DAY, start};
use crate::{Route, Tenant};

pub const OTHERS: &str = "(others)";
/// New series of one tenant in a day.
const OF_A_TENANT: usize = 1_000;
/// New series of all tenants in a day.
const OF_A_DAY: usize = 20_000;
/// Numbers that are remembered.
const REMEMBERED: usize = 50_000;

impl Series {
    fn of_any_tag(&self) -> Series {
        Series { tag: Some(OTHERS.into()), ..self.clone() }
    }

    fn of_any_model(&self) -> Series {
        Series { model: OTHERS.into(), tag: None, ..self.clone() }
    }

    /// What is bounded by the settings alone.
    pub(super) fn of_everybody(&self) -> Series {
        Series { tenant: Tenant::anonymous(), ..self.of_any_model() }
    }
}

#[derive(Default)]
pub(super) struct Names {
    known: HashMap<Series, i64>,
    /// Newcomers of the day, of all and of each tenant.
    day: i64,
    new: usize,
    of_tenant: HashMap<Tenant, usize>,
}

/// What a series is counted under.
pub(super) struct Named {
    pub(super) id: i64,
    pub(super) is_itself: bool,
}

impl Names {
    /// Counts the newcomers of the day from the file. What a failed transaction has told is not to be believed.
    pub(super) fn load(connection: &Connection, now: i64) -> rusqlite::Result<Self> {
        let mut names = Names { day: start(now, DAY), ..Names::default() };
        let mut statement = connection.prepare("SELECT tenant, count(*) FROM series WHERE first_at >= ? GROUP BY 1")?;
        let mut rows = statement.query([names.day])?;
        while let Some(row) = rows.next()? {
            let (tenant, count): (String, u32) = (row.get(0)?, row.get(1)?);
            let count = count as usize;
            names.new += count;
            names.of_tenant.insert(tenant_of(&tenant), count);
        }
        Ok(names)
    }

    pub(super) fn name(&mut self, connection: &Connection, series: &Series, now: i64) -> rusqlite::Result<Named> {
        if let Some(id) = self.known.get(series) {
            return Ok(Named { id: *id, is_itself: true });
        }
        self.turn(now);
        if let Some(id) = self.look(connection, series)? {
            return Ok(Named { id, is_itself: true });
        }
        let mut choices = [(series.clone(), 1), (series.of_any_tag(), 2), (series.of_any_model(), 3)].into_iter();
        let fits = |(_, times): &(Series, usize)| self.has_room(&series.tenant, *times);
        let chosen = choices.find(fits).map_or_else(|| series.of_everybody(), |(chosen, _)| chosen);
        let is_itself = chosen == *series;
        let id = match self.look(connection, &chosen)? {
            Some(id) => id,
            None => self.insert(connection, &chosen, now)?,
        };
        Ok(Named { id, is_itself })
    }

    fn turn(&mut self, now: i64) {
        if start(now, DAY) > self.day {
            *self = Names { known: std::mem::take(&mut self.known), day: start(now, DAY), ..Names::default() };
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
    }

    /// What takes the places of others finds room after they have found none.
    fn has_room(&self, tenant: &Tenant, times: usize) -> bool {
        let of_tenant = self.of_tenant.get(tenant).copied().unwrap_or(0);
        self.new < times * OF_A_DAY && of_tenant < times * OF_A_TENANT
    }

    fn look(&mut self, connection: &Connection, series: &Series) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.known.get(series) {
            return Ok(Some(*id));
        }
        let found = connection
            .prepare_cached(
                "SELECT series_id FROM series
                 WHERE tenant = ? AND model = ? AND backend = ? AND route = ? AND coalesce(tag, '') = ?",
            )?
            .query_row(
                params![
                    series.tenant.hex(),
                    &*series.model,
                    &*series.backend,
                    series.route.path(),
                    series.tag.as_deref().unwrap_or_default()
                ],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(id) = found {
            self.known.insert(series.clone(), id);
        }
        Ok(found)
    }

    fn insert(&mut self, connection: &Connection, series: &Series, now: i64) -> rusqlite::Result<i64> {
        connection
            .prepare_cached(
                "INSERT INTO series (tenant, model, backend, route, tag, first_at) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                series.tenant.hex(),
                &*series.model,
                &*series.backend,
                series.route.path(),
                series.tag.as_deref(),
                now
            ])?;
        let id = connection.last_insert_rowid();
        self.known.insert(series.clone(), id);
        self.new += 1;
        *self.of_tenant.entry(series.tenant).or_default() += 1;
        Ok(id)
    }

    /// Forgets what it knows of numbers, since some of them are not used any more.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

/// The series of a number.
pub(super) fn read(connection: &Connection, id: i64) -> rusqlite::Result<Series> {
    let mut statement =
        connection.prepare_cached("SELECT tenant, model, backend, route, tag FROM series WHERE series_id = ?")?;
    statement.query_row([id], |row| {
        let (tenant, route): (String, String) = (row.get(0)?, row.get(3)?);
        let known = Route::ALL.into_iter().find(|known| known.path() == route);
        Ok(Series {
            tenant: tenant_of(&tenant),
            model: row.get(1)?,
            backend: row.get(2)?,
            route: known.ok_or(rusqlite::Error::InvalidColumnType(3, "route".into(), rusqlite::types::Type::Text))?,
            tag: row.get::<_, Option<Arc<str>>>(4)?,
        })
    })
}

fn tenant_of(hex: &str) -> Tenant {
    Tenant::with_digest(hex).unwrap_or_else(Tenant::anonymous)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::super::testing::series;
    use super::*;

    #[test]
    fn a_tenant_that_invents_names_takes_no_more_than_its_share() {
        let connection = file::in_memory().unwrap();
        let mut names = Names::load(&connection, 0).unwrap();
        for number in 0..5_000 {
            let tag = Some(Arc::from(format!("tag {number}")));
            names.name(&connection, &Series { tag, ..series("a", "m") }, 0).unwrap();
        }
        for number in 0..5_000 {
            names.name(&connection, &series("a", &format!("model {number}")), 0).unwrap();
        }
        let count: u32 = connection.query_row("SELECT count(*) FROM series", [], |row| row.get(0)).unwrap();
        assert!(count as usize <= 3 * OF_A_TENANT + 10, "{count} series");
        let other = names.name(&connection, &series("b", "m"), 0).unwrap();
        assert!(other.is_itself, "other tenants have room of their own");
        assert_eq!(read(&connection, other.id).unwrap(), series("b", "m"));
    }

    #[test]
    fn invented_tenants_end_up_in_one_and_the_next_day_is_new() {
        let connection = file::in_memory().unwrap();
        let mut names = Names::load(&connection, 0).unwrap();
        for number in 0..4 * OF_A_DAY {
            names.name(&connection, &series(&format!("tenant {number}"), "m"), 0).unwrap();
        }
        let late = names.name(&connection, &series("late", "m"), 0).unwrap();
        assert_eq!(read(&connection, late.id).unwrap(), series("late", "m").of_everybody());
        let mut again = Names::load(&connection, 1).unwrap();
        let later = again.name(&connection, &series("later", "m"), 1).unwrap();
        assert!(!later.is_itself, "a restart does not make room");
        let next = again.name(&connection, &series("later", "m"), DAY).unwrap();
        assert!(next.is_itself, "the next day does");
    }
}
