//! Records that are not on disk yet: a queue that whoever appends never waits at, with a cap and a named end at it.
//!
//! Beyond the cap, calls are added up by minute and series: what each of them was is lost, what they cost is not.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::record::{Kind, Record, Series};
use super::sums::{HOUR, MINUTE, Sums, start};

/// Records that wait for the disk one by one.
const MOST_RECORDS: usize = 200_000;
/// Sums that wait for it. Beyond them, sums are those of an hour, and of all tenants, models and tags together.
const MOST_SUMS: usize = 50_000;

pub(super) type Merged = HashMap<(i64, Kind, Series), Sums>;

#[derive(Default)]
pub(super) struct Pending {
    queue: Mutex<Queue>,
    /// There is something to write, or the end has come.
    filled: Condvar,
    /// Something was written.
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    records: Vec<Record>,
    merged: Merged,
    /// Taken by the writer and not written yet.
    in_hand: usize,
    appended: u64,
    taken: u64,
    written: u64,
    /// Calls that were added up.
    added_up: u64,
    haste: Haste,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Haste {
    /// The writer takes what has gathered at its next turn.
    #[default]
    None,
    /// Somebody waits for it.
    Now,
    /// The ledger is closed: what waits is written, if the disk lets it.
    Last,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, record: Record) {
        let mut queue = self.lock();
        let first = queue.taken == queue.appended;
        queue.appended += 1;
        if queue.records.len() + queue.in_hand < MOST_RECORDS {
            queue.records.push(record);
        } else {
            queue.added_up += 1;
            let sums = Sums::of(&record);
            queue.merge((record.at, record.kind, record.series), &sums);
        }
        drop(queue);
        if first {
            self.filled.notify_one();
        }
    }

    /// Takes calls that are known by their sums alone.
    pub(super) fn add_up(&self, at: i64, kind: Kind, series: Series, sums: &Sums) {
        let mut queue = self.lock();
        let first = queue.taken == queue.appended;
        queue.appended += sums.requests;
        queue.merge((at, kind, series), sums);
        drop(queue);
        if first {
            self.filled.notify_one();
        }
    }

    /// How many records wait, one by one or in sums.
    pub(super) fn waiting(&self) -> u64 {
        let queue = self.lock();
        queue.appended - queue.written
    }

    pub(super) fn added_up(&self) -> u64 {
        self.lock().added_up
    }

    pub(super) fn hasten(&self, haste: Haste) {
        let mut queue = self.lock();
        if queue.haste != Haste::Last {
            queue.haste = haste;
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until all that was appended before is written. False if it is not after that time.
    pub(super) fn wait_written(&self, most: Duration) -> bool {
        let all = self.lock().appended;
        self.hasten(Haste::Now);
        let (queue, _) = self
            .written
            .wait_timeout_while(self.lock(), most, |queue| queue.written < all)
            .unwrap_or_else(PoisonError::into_inner);
        queue.written >= all
    }

    /// Waits until there is something to write, for `idle` at most.
    pub(super) fn wait_filled(&self, idle: Duration) -> Haste {
        let waits = |queue: &mut Queue| queue.haste == Haste::None && queue.taken == queue.appended;
        let waited = self.filled.wait_timeout_while(self.lock(), idle, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.haste
    }

    /// Waits until then, or until somebody is in haste.
    pub(super) fn wait_turn(&self, then: Instant) -> Haste {
        self.wait_while(then.saturating_duration_since(Instant::now()), |haste| haste == Haste::None)
    }

    /// Waits for a time that only the end cuts short.
    pub(super) fn pause(&self, most: Duration) -> Haste {
        self.wait_while(most, |haste| haste != Haste::Last)
    }

    fn wait_while(&self, most: Duration, is_calm: impl Fn(Haste) -> bool) -> Haste {
        let waited = self.filled.wait_timeout_while(self.lock(), most, |queue| is_calm(queue.haste));
        waited.unwrap_or_else(PoisonError::into_inner).0.haste
    }

    /// Gives all that waits and keeps `spare`, which is empty, to gather more in.
    pub(super) fn take(&self, spare: Vec<Record>) -> (Vec<Record>, Merged) {
        let mut queue = self.lock();
        queue.in_hand = queue.records.len();
        queue.taken = queue.appended;
        if queue.haste == Haste::Now {
            queue.haste = Haste::None;
        }
        (std::mem::replace(&mut queue.records, spare), std::mem::take(&mut queue.merged))
    }

    /// So many of what the writer had taken are on disk, `records` of them one by one.
    pub(super) fn written(&self, records: usize, added_up: u64) {
        let mut queue = self.lock();
        queue.in_hand = queue.in_hand.saturating_sub(records);
        queue.written += records as u64 + added_up;
        drop(queue);
        self.written.notify_all();
    }
}

impl Queue {
    fn merge(&mut self, (at, kind, series): (i64, Kind, Series), sums: &Sums) {
        let mut key = (start(at, MINUTE), kind, series);
        if self.merged.len() >= MOST_SUMS && !self.merged.contains_key(&key) {
            key = (start(at, HOUR), kind, key.2.of_everybody());
        }
        self.merged.entry(key).or_default().add(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    #[test]
    fn beyond_the_cap_calls_are_added_up_and_no_money_is_lost() {
        let pending = Pending::default();
        for number in 0..MOST_RECORDS as i64 + 5_000 {
            pending.append(record(number * 10, number as u64));
        }
        let (records, merged) = pending.take(Vec::new());
        assert_eq!(records.len(), MOST_RECORDS);
        assert_eq!(pending.added_up(), 5_000);
        let sums: Vec<&Sums> = merged.values().collect();
        assert_eq!(sums.iter().map(|sums| sums.requests).sum::<u64>(), 5_000);
        let all = records.iter().filter_map(|record| record.cost).chain(sums.iter().map(|sums| sums.cost));
        let expected = (0..MOST_RECORDS as u64 + 5_000).sum::<u64>();
        assert_eq!(all.sum::<crate::money::Money>().nanos(), expected);
    }

    #[test]
    fn invented_names_make_no_more_sums_than_the_bound() {
        let pending = Pending::default();
        pending.lock().in_hand = MOST_RECORDS;
        for number in 0..MOST_SUMS as u64 + 10_000 {
            let mut record = record(0, 1);
            record.series.model = format!("m{number}").into();
            pending.append(record);
        }
        let (_, merged) = pending.take(Vec::new());
        assert!(merged.len() <= MOST_SUMS + 1, "{} sums", merged.len());
        assert_eq!(merged.values().map(|sums| sums.requests).sum::<u64>(), MOST_SUMS as u64 + 10_000);
    }
}
