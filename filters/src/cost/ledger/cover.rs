//! Which roll-ups answer a range: the coarsest that lie in it whole, and finer ones, at last single calls, at its edges.

use rusqlite::Connection;

use super::retention::CALLS;
use super::sums::{DAY, HOUR, MINUTE, ceil, start};

/// From the coarsest to the finest; calls are spans of no length.
const SPANS: [i64; 4] = [DAY, HOUR, MINUTE, CALLS];

/// A part of a range and where it is summed up from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) span: i64,
    pub(super) from: i64,
    pub(super) until: i64,
}

/// From when on each span is whole, which is always from a day's beginning on.
pub(super) struct Kept([i64; 4]);

impl Kept {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut kept = [0; 4];
        for (span, since) in SPANS.iter().zip(&mut kept) {
            *since = connection
                .prepare_cached("SELECT since FROM kept WHERE span = ?")?
                .query_row([span], |row| row.get(0))?;
        }
        Ok(Kept(kept))
    }

    /// The parts of a range, which is first widened to what is kept at its ends.
    ///
    /// `coarsest` is the longest span that may be used where a shorter one is kept: rows are told apart by it.
    pub(super) fn cover(&self, from: i64, until: i64, coarsest: Option<i64>) -> (i64, i64, Vec<Part>) {
        let first = self.0.iter().copied().min().unwrap_or(0);
        let from = start(from, self.finest(from)).max(first);
        let until = ceil(until, self.finest(until)).max(from);
        let level = SPANS.iter().position(|span| coarsest.is_none_or(|most| *span <= most)).unwrap_or(0);
        let mut parts = Vec::new();
        self.cover_from(level, from, until, &mut parts);
        (from, until, parts)
    }

    /// Uses no span above the level where those from it on have everything.
    fn cover_from(&self, level: usize, from: i64, until: i64, parts: &mut Vec<Part>) {
        let whole = self.0[level..].iter().copied().min().unwrap_or(0).clamp(from, until);
        if level > 0 && from < whole {
            self.cover_from(level - 1, from, whole, parts);
        }
        self.divide(level, whole, until, parts);
    }

    /// The shortest span that is kept of the day that a date lies in.
    fn finest(&self, at: i64) -> i64 {
        let kept = SPANS.iter().zip(&self.0).rev().find(|(_, since)| **since <= at);
        kept.map_or(DAY, |(span, _)| *span).max(1)
    }

    fn divide(&self, level: usize, from: i64, until: i64, parts: &mut Vec<Part>) {
        let Some(span) = SPANS.get(level).copied().filter(|_| from < until) else { return };
        let length = span.max(1);
        let whole = Part { span, from: ceil(from.max(self.0[level]), length), until: start(until, length) };
        if whole.from >= whole.until {
            return self.divide(level + 1, from, until, parts);
        }
        self.divide(level + 1, from, whole.from, parts);
        parts.push(whole);
        self.divide(level + 1, whole.until, until, parts);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_month_is_days_with_hours_minutes_and_calls_at_its_edges() {
        let from = 10 * DAY + 22 * HOUR + 58 * MINUTE + 59_999;
        let (_, _, parts) = Kept([0; 4]).cover(from, 40 * DAY + 1, None);
        let expected = [
            Part { span: CALLS, from, until: from + 1 },
            Part { span: MINUTE, from: from + 1, until: 10 * DAY + 23 * HOUR },
            Part { span: HOUR, from: 10 * DAY + 23 * HOUR, until: 11 * DAY },
            Part { span: DAY, from: 11 * DAY, until: 40 * DAY },
            Part { span: CALLS, from: 40 * DAY, until: 40 * DAY + 1 },
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_is_kept_in_days_only_is_answered_in_days() {
        let kept = Kept([0, 30 * DAY, 60 * DAY, 40 * DAY]);
        let (from, until, parts) = kept.cover(5 * DAY + 1, 20 * DAY + 1, None);
        assert_eq!((from, until), (5 * DAY, 21 * DAY));
        assert_eq!(parts, [Part { span: DAY, from, until }]);
        let (from, until, parts) = kept.cover(35 * DAY + 1, 35 * DAY + 2, None);
        assert_eq!((from, until), (35 * DAY, 35 * DAY + HOUR));
        assert_eq!(parts, [Part { span: HOUR, from, until }]);
    }

    proptest! {
        /// Days since which each span is kept, the range, and the coarsest span.
        #[test]
        fn parts_cover_the_range_without_gaps_and_are_all_kept(
            hours in 0i64..10, minutes in 0i64..10, calls in 0i64..10,
            from in 0..12 * DAY, length in 1..3 * DAY, coarsest in 0usize..4,
        ) {
            let kept = Kept([0, hours * DAY, minutes * DAY, calls * DAY]);
            let most = [None, Some(DAY), Some(HOUR), Some(MINUTE)][coarsest];
            let (start_at, end, parts) = kept.cover(from, from + length, most);
            prop_assert!(start_at <= from && end >= from + length);
            let mut at = start_at;
            for part in &parts {
                prop_assert_eq!(part.from, at, "no gap and nothing twice: {:?}", &parts);
                at = part.until;
                let level = SPANS.iter().position(|span| *span == part.span).unwrap();
                prop_assert!(part.from >= kept.0[level] && part.from < part.until);
                let is_there_finer = |most| SPANS.iter().zip(&kept.0).any(|(span, since)| *span <= most && *since <= part.from);
                prop_assert!(most.is_none_or(|most| part.span <= most || !is_there_finer(most)));
            }
            prop_assert_eq!(at, end);
        }
    }
}
