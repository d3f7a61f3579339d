//! What has grown old goes, a little at a time: calls first, then minutes and hours. Days stay.
//!
//! It goes by whole days of UTC, and the file says from when on each kind is whole, before the first of it goes:
//! nobody sums up half a day. In memory there are bounds on numbers, too, and the oldest goes beyond them.

use rusqlite::{Connection, params};

use super::sums::{DAY, HOUR, MINUTE, ceil, start};

/// Rows that go in one step, so that no step holds the writer up.
const STEP: i64 = 1_000;
/// How often it looks for what is old.
const EVERY: i64 = MINUTE;
/// Calls in the table of kept spans.
pub(super) const CALLS: i64 = 0;
/// Roll-ups of one span that are kept in memory.
const MEMORY_ROLLUPS: i64 = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do.
    More,
    Idle,
    /// Some series are nobody's any more, and gone.
    Renamed,
}

pub(super) struct Retention {
    /// How long calls, minutes and hours are kept, in milliseconds.
    pub(super) ages: [(i64, i64); 3],
    /// The most calls, where they are kept in memory.
    pub(super) most_calls: Option<i64>,
    pub(super) next: i64,
}

impl Retention {
    /// Deletes some of what is old.
    pub(super) fn step(&mut self, connection: &mut Connection, now: i64) -> rusqlite::Result<Step> {
        if let Some(most) = self.most_calls {
            drop_oldest_calls(connection, most)?;
        }
        if now < self.next {
            return Ok(Step::Idle);
        }
        let transaction = connection.transaction()?;
        let mut deleted = 0;
        for (span, age) in self.ages {
            let until = start(now.saturating_sub(age), DAY);
            deleted += forget_before(&transaction, span, until)?;
        }
        transaction.commit()?;
        if deleted > 0 {
            return Ok(Step::More);
        }
        self.next = now.saturating_add(EVERY);
        if self.most_calls.is_some() && drop_oldest_rollups(connection)? {
            return Ok(Step::Renamed);
        }
        Ok(Step::Idle)
    }
}

fn forget_before(connection: &Connection, span: i64, until: i64) -> rusqlite::Result<usize> {
    whole_since(connection, span, until)?;
    if span == CALLS {
        let calls = connection
            .prepare_cached(
                "DELETE FROM calls WHERE call_id IN (SELECT call_id FROM calls WHERE at < ? ORDER BY at LIMIT ?)",
            )?
            .execute(params![until, STEP])?;
        let merged = connection
            .prepare_cached(
                "DELETE FROM merged_calls WHERE (start, series_id, kind) IN
                 (SELECT start, series_id, kind FROM merged_calls WHERE start < ? LIMIT ?)",
            )?
            .execute(params![until, STEP])?;
        return Ok(calls + merged);
    }
    connection
        .prepare_cached(
            "DELETE FROM rollups WHERE (span, start, series_id, kind) IN
             (SELECT span, start, series_id, kind FROM rollups WHERE span = ? AND start < ? LIMIT ?)",
        )?
        .execute([span, until, STEP])
}

fn whole_since(connection: &Connection, span: i64, since: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE kept SET since = ?2 WHERE span = ?1 AND since < ?2")?.execute([span, since])?;
    Ok(())
}

fn drop_oldest_calls(connection: &mut Connection, most: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let newest: Option<i64> = transaction.query_row("SELECT max(call_id) FROM calls", [], |row| row.get(0))?;
    let last = newest.unwrap_or(0).saturating_sub(most);
    let latest: Option<i64> =
        transaction.query_row("SELECT max(at) FROM calls WHERE call_id <= ?", [last], |row| row.get(0))?;
    if let Some(latest) = latest {
        whole_since(&transaction, CALLS, ceil(latest.saturating_add(1), DAY))?;
        transaction.execute("DELETE FROM calls WHERE call_id <= ?", [last])?;
    }
    transaction.commit()
}

/// Whether some of them went. Series that are in no roll-up and no call go with them.
fn drop_oldest_rollups(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let mut is_any_gone = false;
    for span in [MINUTE, HOUR, DAY] {
        let count: i64 =
            transaction.query_row("SELECT count(*) FROM rollups WHERE span = ?", [span], |row| row.get(0))?;
        if count <= MEMORY_ROLLUPS {
            continue;
        }
        is_any_gone = true;
        let oldest = "SELECT span, start, series_id, kind FROM rollups WHERE span = ? ORDER BY start LIMIT ?";
        let latest: i64 = transaction.query_row(
            &format!("SELECT max(start) FROM ({oldest})"),
            params![span, count - MEMORY_ROLLUPS],
            |row| row.get(0),
        )?;
        whole_since(&transaction, span, ceil(latest.saturating_add(1), DAY))?;
        let delete = format!("DELETE FROM rollups WHERE (span, start, series_id, kind) IN ({oldest})");
        transaction.execute(&delete, params![span, count - MEMORY_ROLLUPS])?;
    }
    if is_any_gone {
        transaction.execute(
            "DELETE FROM series WHERE series_id NOT IN (SELECT series_id FROM rollups)
             AND series_id NOT IN (SELECT series_id FROM calls)
             AND series_id NOT IN (SELECT series_id FROM merged_calls)",
            [],
        )?;
    }
    transaction.commit()?;
    Ok(is_any_gone)
}
