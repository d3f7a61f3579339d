//! What was charged in the last window, exactly: an entry a charge, gone a window after it.
//!
//! Beyond [`MOST`] entries, neighbours closer than a 512th of the window become one that stands at the later
//! one's time. That only ever holds a charge longer, so nothing passes a limit by it, and bounds the memory.

use std::collections::VecDeque;
use std::time::Duration;

/// Nanoseconds on the ledger's own clock.
pub type Nanos = u64;

const MOST: usize = 1024;
const PARTS: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: Nanos,
    amount: u64,
}

/// A sliding window over charges.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    sum: u64,
}

impl Log {
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lets go what is as old as the window.
    pub fn expire(&mut self, now: Nanos, window: Nanos) {
        while let Some(oldest) = self.entries.front()
            && now >= oldest.at.saturating_add(window)
        {
            self.sum -= oldest.amount;
            self.entries.pop_front();
        }
        if self.entries.is_empty() && self.entries.capacity() > 8 {
            self.entries = VecDeque::new();
        }
    }

    /// Charges `amount` now, or at the newest entry's time if that is later.
    pub fn charge(&mut self, now: Nanos, amount: u64, window: Nanos) -> Nanos {
        let at = self.entries.back().map_or(now, |newest| newest.at.max(now));
        self.sum += amount;
        match self.entries.back_mut() {
            Some(newest) if newest.at == at => newest.amount += amount,
            _ => self.entries.push_back(Entry { at, amount }),
        }
        if self.entries.len() > MOST {
            self.merge(window / PARTS);
        }
        at
    }

    fn merge(&mut self, closer: Nanos) {
        let mut merged: VecDeque<Entry> = VecDeque::with_capacity(MOST / 2);
        let mut first = 0;
        for entry in self.entries.drain(..) {
            match merged.back_mut() {
                Some(last) if entry.at - first <= closer => {
                    last.at = entry.at;
                    last.amount += entry.amount;
                }
                _ => {
                    first = entry.at;
                    merged.push_back(entry);
                }
            }
        }
        self.entries = merged;
    }

    /// Takes `amount` back of what was charged at `at`, as far as it still counts.
    pub fn refund(&mut self, now: Nanos, window: Nanos, at: Nanos, amount: u64) {
        if now >= at.saturating_add(window) {
            return;
        }
        let place = self.entries.partition_point(|entry| entry.at < at);
        if let Some(entry) = self.entries.get_mut(place) {
            let back = amount.min(entry.amount);
            entry.amount -= back;
            self.sum -= back;
        }
    }

    /// The same of what another process has charged, whose clock this one knows to a few milliseconds only: from the charges
    /// that are nearest.
    pub fn refund_near(&mut self, now: Nanos, window: Nanos, at: Nanos, mut amount: u64) {
        if now >= at.saturating_add(window) {
            return;
        }
        let mut nearest: Vec<&mut Entry> = self.entries.iter_mut().collect();
        nearest.sort_by_key(|entry| entry.at.abs_diff(at));
        for entry in nearest {
            let back = amount.min(entry.amount);
            entry.amount -= back;
            self.sum -= back;
            amount -= back;
            if amount == 0 {
                return;
            }
        }
    }

    /// Until `cost` fits under `amount` if nothing else happens; none if it never can.
    pub fn until_fits(&self, now: Nanos, window: Nanos, cost: u64, amount: u64) -> Option<Duration> {
        let mut over = (self.sum + cost).saturating_sub(amount);
        if over == 0 {
            return Some(Duration::ZERO);
        }
        for entry in &self.entries {
            over = over.saturating_sub(entry.amount);
            if over == 0 {
                return Some(Duration::from_nanos((entry.at + window).saturating_sub(now)));
            }
        }
        None
    }

    /// Until the oldest charge leaves, and until all have left.
    pub fn leaving(&self, now: Nanos, window: Nanos) -> Option<(Duration, Duration)> {
        let until = |entry: &Entry| Duration::from_nanos((entry.at + window).saturating_sub(now));
        Some((until(self.entries.front()?), until(self.entries.back()?)))
    }

    /// The newest charges that add up to `amount`, or all, by their age, oldest first.
    pub fn newest(&self, now: Nanos, amount: u64) -> Vec<(Duration, u64)> {
        let (mut rest, mut found) = (amount, Vec::new());
        for entry in self.entries.iter().rev() {
            if rest == 0 {
                break;
            }
            let part = entry.amount.min(rest);
            rest -= part;
            if part > 0 {
                found.push((Duration::from_nanos(now.saturating_sub(entry.at)), part));
            }
        }
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_charge_counts_for_exactly_one_window() {
        let mut log = Log::default();
        log.charge(10, 3, 100);
        log.charge(20, 4, 100);
        log.expire(109, 100);
        assert_eq!(log.sum(), 7);
        log.expire(110, 100);
        assert_eq!(log.sum(), 4, "a window after it, a charge is gone");
        assert_eq!(log.until_fits(110, 100, 1, 4), Some(Duration::from_nanos(10)));
        assert_eq!(log.until_fits(110, 100, 5, 4), None, "more than the limit never fits");
    }

    #[test]
    fn a_refund_is_taken_off_the_charge_it_belongs_to() {
        let mut log = Log::default();
        let first = log.charge(10, 5, 100);
        log.charge(50, 5, 100);
        log.refund(60, 100, first, 3);
        assert_eq!(log.sum(), 7);
        log.expire(110, 100);
        assert_eq!(log.sum(), 5, "the second charge is whole");
        log.refund(110, 100, first, 3);
        assert_eq!(log.sum(), 5, "what has left cannot be given back");
    }

    #[test]
    fn what_another_process_has_charged_is_given_back_whole() {
        let mut log = Log::default();
        for at in [10, 20, 30] {
            log.charge(at, 5, 100);
        }
        log.refund_near(40, 100, 31, 4);
        assert_eq!(log.newest(40, 100).iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [5, 5, 1]);
        log.refund_near(40, 100, 22, 8);
        assert_eq!(log.sum(), 3, "and from its neighbours, where one alone has not so much");
        log.refund_near(200, 100, 30, 1);
        assert_eq!(log.sum(), 3, "what has left cannot be given back");
    }

    #[test]
    fn the_newest_charges_are_told_by_age() {
        let mut log = Log::default();
        for at in [10, 20, 30] {
            log.charge(at, 2, 100);
        }
        let nanos = Duration::from_nanos;
        assert_eq!(log.newest(40, 3), [(nanos(20), 1), (nanos(10), 2)]);
        assert_eq!(log.newest(40, 100).len(), 3);
    }

    proptest! {
        #[test]
        fn never_less_than_the_truth_and_hardly_more(gaps in prop::collection::vec(0u64..3_000, 1..6_000)) {
            const WINDOW: Nanos = 1_000_000;
            let (mut log, mut truth, mut now) = (Log::default(), Vec::new(), 0);
            for gap in gaps {
                now += gap;
                log.expire(now, WINDOW);
                let since = |age: Nanos| truth.iter().rev().take_while(|at| now < *at + age).count() as u64;
                prop_assert!(log.sum() >= since(WINDOW), "a charge left too early");
                prop_assert!(log.sum() <= since(WINDOW + WINDOW / PARTS), "a charge stayed too long");
                log.charge(now, 1, WINDOW);
                truth.push(now);
                prop_assert!(log.entries.len() <= MOST);
            }
            log.expire(now + WINDOW, WINDOW);
            prop_assert_eq!(log.sum(), 0);
        }
    }
}
