//! When the days, weeks and months of budgets begin: at local midnight, once each, and never early.
//!
//! A border is an instant, the first of a local date. An instant belongs to the latest border that it has reached,
//! whatever date its wall clock shows: where clocks go back over midnight, a day that has begun stays begun.

use std::sync::{PoisonError, RwLock};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

/// Milliseconds since 1970.
pub type Millis = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    /// From Monday.
    Week,
    Month,
    /// All time.
    Total,
}

/// From its first millisecond until before its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub begin: Millis,
    pub end: Millis,
}

impl Span {
    pub const ALL: Span = Span { begin: Millis::MIN, end: Millis::MAX };

    pub fn contains(&self, at: Millis) -> bool {
        (self.begin..self.end).contains(&at)
    }
}

impl Period {
    pub const fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Total => "total",
        }
    }

    /// The period that an instant lies in. At the ends of the calendar, some ten thousand years away, it is all time.
    pub fn span(self, at: Millis, zone: &TimeZone) -> Span {
        self.try_span(at, zone).unwrap_or(Span::ALL)
    }

    fn try_span(self, at: Millis, zone: &TimeZone) -> Option<Span> {
        if self == Period::Total {
            return None;
        }
        let mut date = self.first(Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone()).date())?;
        while border(date, zone)? > at {
            date = self.first(date.yesterday().ok()?)?;
        }
        loop {
            let next = self.next(date)?;
            let span = Span { begin: border(date, zone)?, end: border(next, zone)? };
            if at < span.end {
                return Some(span);
            }
            date = next;
        }
    }

    /// The first date of the period that a date lies in.
    fn first(self, date: Date) -> Option<Date> {
        match self {
            Period::Day | Period::Total => Some(date),
            Period::Week => date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok(),
            Period::Month => Some(date.first_of_month()),
        }
    }

    fn next(self, first: Date) -> Option<Date> {
        match self {
            Period::Day | Period::Total => first.tomorrow().ok(),
            Period::Week => first.checked_add(7.days()).ok(),
            Period::Month => first.checked_add(1.month()).ok(),
        }
    }
}

/// The first instant of a date; where a place has left a date out, that of the next.
fn border(date: Date, zone: &TimeZone) -> Option<Millis> {
    Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
}

/// How far a clock may go back and the period that has begun stays begun: more is another time.
const JITTER: Millis = 3_600_000;

/// The periods of now, worked out once each.
pub struct Calendar {
    pub zone: TimeZone,
    current: [RwLock<Span>; 3],
}

impl Calendar {
    pub fn new(zone: TimeZone) -> Self {
        let none = || RwLock::new(Span { begin: Millis::MAX, end: Millis::MIN });
        Calendar { zone, current: [none(), none(), none()] }
    }

    pub fn span(&self, period: Period, now: Millis) -> Span {
        let place = match period {
            Period::Day => &self.current[0],
            Period::Week => &self.current[1],
            Period::Month => &self.current[2],
            Period::Total => return Span::ALL,
        };
        let known = *place.read().unwrap_or_else(PoisonError::into_inner);
        if now < known.end && now >= known.begin.saturating_sub(JITTER) {
            return known;
        }
        let span = period.span(now, &self.zone);
        *place.write().unwrap_or_else(PoisonError::into_inner) = span;
        span
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where clocks go back over midnight, leave midnight out, leave a day out, or do nothing of the kind.
    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Zurich",
        "America/New_York",
        "America/St_Johns",
        "America/Havana",
        "America/Sao_Paulo",
        "Asia/Beirut",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ];

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    fn at(text: &str) -> Millis {
        text.parse::<Timestamp>().expect("a date").as_millisecond()
    }

    #[test]
    fn a_day_begins_at_local_midnight_and_is_as_long_as_it_is_there() {
        let zurich = zone("Europe/Zurich");
        let hours = |text| {
            let span = Period::Day.span(at(text), &zurich);
            (span.end - span.begin) / 3_600_000
        };
        assert_eq!(Period::Day.span(at("2026-11-21T23:00:00Z"), &zurich).begin, at("2026-11-21T23:00:00Z"));
        assert_eq!(Period::Day.span(at("2026-11-21T22:59:59.999Z"), &zurich).end, at("2026-11-21T23:00:00Z"));
        assert_eq!((hours("2026-03-29T12:00:00Z"), hours("2026-10-25T12:00:00Z")), (23, 25));
    }

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_its_first() {
        let utc = TimeZone::UTC;
        let week = Period::Week.span(at("2026-11-22T23:59:59Z"), &utc);
        assert_eq!((week.begin, week.end), (at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")));
        let month = Period::Month.span(at("2024-02-29T12:00:00Z"), &utc);
        assert_eq!((month.begin, month.end), (at("2024-02-01T00:00:00Z"), at("2024-03-01T00:00:00Z")));
        assert_eq!(Period::Total.span(0, &utc), Span::ALL);
    }

    #[test]
    fn a_day_that_clocks_leave_and_enter_again_begins_once() {
        // One minute after midnight, clocks in St. John's went back to 23:01 of the day before.
        let there = zone("America/St_Johns");
        let midnight = at("2010-11-07T02:30:00Z");
        let spans: Vec<Span> = (-90..90).map(|minute| Period::Day.span(midnight + minute * 60_000, &there)).collect();
        assert!(spans.is_sorted_by_key(|span| span.begin), "a day began, and the one before came back");
        assert_eq!(spans.iter().filter(|span| span.begin == midnight).count(), 90);
    }

    #[test]
    fn a_day_that_was_left_out_is_no_period() {
        let apia = zone("Pacific/Apia");
        let last = Period::Day.span(at("2011-12-30T09:59:59Z"), &apia);
        let next = Period::Day.span(at("2011-12-30T10:00:00Z"), &apia);
        assert_eq!((last.end, next.begin), (next.begin, at("2011-12-30T10:00:00Z")));
        assert_eq!(next.end, at("2011-12-31T10:00:00Z"));
    }

    #[test]
    fn a_clock_that_jitters_over_a_border_does_not_bring_the_old_period_back() {
        let calendar = Calendar::new(TimeZone::UTC);
        let midnight = at("2026-11-22T00:00:00Z");
        assert_eq!(calendar.span(Period::Day, midnight - 1).end, midnight);
        let new = calendar.span(Period::Day, midnight);
        assert_eq!(new.begin, midnight);
        assert_eq!(calendar.span(Period::Day, midnight - 1_000), new, "a second back is jitter");
        assert_eq!(calendar.span(Period::Day, midnight - 2 * JITTER).end, midnight, "two hours are not");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_border_is_met_exactly_once_and_never_early(
            seconds in 0i64..4_000_000_000, name in prop::sample::select(&ZONES[..]),
            period in prop::sample::select(&[Period::Day, Period::Week, Period::Month][..]),
        ) {
            let (zone, now) = (zone(name), seconds * 1000);
            let span = period.span(now, &zone);
            prop_assert!(span.contains(now), "{span:?}");
            prop_assert_eq!(period.span(span.begin, &zone), span, "its first millisecond is its own");
            prop_assert_eq!(period.span(span.end - 1, &zone), span, "and its last");
            prop_assert_eq!(period.span(span.begin - 1, &zone).end, span.begin, "the one before ends there");
            prop_assert_eq!(period.span(span.end, &zone).begin, span.end, "the next begins there");
            let first = Timestamp::from_millisecond(span.begin).unwrap().to_zoned(zone.clone());
            prop_assert_eq!(first.date(), period.first(first.date()).unwrap(), "it begins with a first date");
            prop_assert_eq!(first.timestamp(), first.start_of_day().unwrap().timestamp(), "at the day's beginning");
            let days = (span.end - span.begin) / 3_600_000;
            let (least, most) = match period { Period::Day => (22, 26), Period::Week => (6 * 24, 8 * 24), _ => (27 * 24, 32 * 24) };
            prop_assert!((least..=most).contains(&days), "{days} hours");
        }

        #[test]
        fn time_that_goes_on_passes_every_period_once(
            seconds in 1_000_000_000i64..2_000_000_000, steps in prop::collection::vec(1i64..40_000_000, 1..60),
            name in prop::sample::select(&ZONES[..]),
        ) {
            let zone = zone(name);
            let calendar = Calendar::new(zone.clone());
            let mut now = seconds * 1000;
            let mut last = calendar.span(Period::Day, now);
            for step in steps {
                now += step;
                let span = calendar.span(Period::Day, now);
                prop_assert!(span == last || (now >= last.end && span.begin >= last.end), "{last:?} {span:?}");
                prop_assert_eq!(span, Period::Day.span(now, &zone));
                last = span;
            }
        }
    }
}
