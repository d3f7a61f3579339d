//! What a backend takes when nothing holds it up, by the size of what it is asked.
//!
//! A long prompt takes longer to read, so each size has a time of its own: two classes for each doubling. What was
//! seen lately has a low expectile; a time is the least that this has been. Load can only raise it, so its least is what
//! there is without load; and yet it is no extreme, which a backend that varies by itself would never reach again.
//! A time rises while there is so little in flight that nobody can have been in the way. Under load it rises with
//! [`Bases::relearn`] alone, so that an overload of an hour does not pass for the backend's nature, and yet a backend
//! that has become slower is relearned in the end.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Two for each doubling, up to what 64 bits can count.
const CLASSES: usize = 128;
/// The first few are no sample to take an expectile of; their least is the best guess.
const YOUNG: u32 = 8;
/// So many are a sample, and so much may it lie above the least of the first few.
const MATURE: u32 = 20;
const ABOVE_LEAST: f64 = 2.0;
const DOWN: f64 = 0.12;
const UP: f64 = 0.05;
/// Time that passed unseen is no evidence.
const LONGEST_STEP_SECS: f64 = 1.0;

/// The class of a size in tokens or bytes.
#[must_use]
pub fn class(size: u64) -> u8 {
    let size = size.max(1);
    let whole = size.ilog2();
    // The upper half begins at the square root of two, of which 1.4 is near enough.
    let upper = u128::from(size) * 5 >= (7_u128 << whole);
    u8::try_from(2 * whole + u32::from(upper)).unwrap_or(u8::MAX)
}

#[derive(Clone, Copy)]
struct Base {
    secs: f64,
    /// The expectile of the latest.
    lately: f64,
    count: u32,
    seen: Instant,
}

/// One class's time, as another process takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    class: u8,
    secs: f64,
    lately: f64,
    count: u32,
}

/// A time per class.
pub struct Bases {
    known: [Option<Base>; CLASSES],
    /// Seconds in which a time may double against the evidence of a load.
    relearn: f64,
}

impl Bases {
    pub const fn new(relearn: f64) -> Bases {
        Bases { known: [None; CLASSES], relearn }
    }

    /// What is known of each class, for another process.
    pub fn saved(&self) -> Vec<Known> {
        let known = |(class, base): (usize, &Option<Base>)| {
            let Base { secs, lately, count, .. } = (*base)?;
            Some(Known { class: u8::try_from(class).ok()?, secs, lately, count })
        };
        self.known.iter().enumerate().filter_map(known).collect()
    }

    /// Goes on with what another process has learned.
    pub fn resume(&mut self, saved: &[Known], now: Instant) {
        for Known { class, secs, lately, count } in saved {
            if let Some(place) = self.known.get_mut(usize::from(*class)) {
                *place = Some(Base { secs: *secs, lately: *lately, count: *count, seen: now });
            }
        }
    }

    pub const fn relearn_in(&mut self, relearn: f64) {
        self.relearn = relearn;
    }

    /// Takes in what one answer took, and says what it would have taken without load, as far as that was known before.
    pub fn learn(&mut self, class: u8, secs: f64, calm: bool, now: Instant) -> Option<f64> {
        let class = usize::from(class).min(CLASSES - 1);
        let before = self.expected(class);
        let base = self.known[class].get_or_insert(Base { secs, lately: secs, count: 0, seen: now });
        let passed = now.saturating_duration_since(base.seen).as_secs_f64().min(LONGEST_STEP_SECS);
        base.count = base.count.saturating_add(1);
        base.seen = now;
        base.lately += if secs < base.lately { DOWN } else { UP } * (secs - base.lately);
        let shown = secs.min(base.lately);
        base.secs = if base.count <= YOUNG {
            base.secs.min(secs)
        } else if base.lately < base.secs {
            base.lately
        } else if base.count <= MATURE {
            if base.count == MATURE { base.lately.min(ABOVE_LEAST * base.secs) } else { base.secs }
        } else if calm && shown > base.secs {
            base.secs + UP * (shown - base.secs)
        } else {
            (base.secs * (passed / self.relearn).exp2()).min(base.lately)
        };
        before
    }

    /// A class that is hardly known borrows from a larger one, which never takes less.
    fn expected(&self, class: usize) -> Option<f64> {
        match self.known[class] {
            Some(base) if base.count >= YOUNG => Some(base.secs),
            own => {
                let larger = self.known[class + 1..].iter().flatten().find(|base| base.count >= YOUNG);
                own.into_iter().chain(larger.copied()).map(|base| base.secs).reduce(f64::min)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn repeat(times: u32, mut learn: impl FnMut() -> Option<f64>) {
        for _ in 0..times {
            learn();
        }
    }

    #[test]
    fn there_are_two_classes_for_each_doubling() {
        assert_eq!([1, 2, 3, 4, 5, 6, 8, 11, 12, 16].map(class), [0, 2, 3, 4, 4, 5, 6, 6, 7, 8]);
        assert_eq!((class(0), class(u64::MAX)), (0, 127), "every size has one");
    }

    #[test]
    fn an_hour_of_overload_is_not_taken_for_the_backend() {
        let (mut bases, mut now) = (Bases::new(1800.0), Instant::now());
        repeat(20, || bases.learn(9, 0.05, true, now));
        for _ in 0..10 * 600 {
            now += Duration::from_millis(100);
            bases.learn(9, 1.0, false, now);
        }
        let base = bases.learn(9, 1.0, false, now).unwrap();
        assert!((0.05..0.07).contains(&base), "ten minutes of overload leave {base}");
    }

    #[test]
    fn a_backend_that_became_slower_is_relearned_where_nothing_was_in_the_way() {
        let (mut bases, now) = (Bases::new(1800.0), Instant::now());
        repeat(20, || bases.learn(9, 0.05, true, now));
        repeat(100, || bases.learn(9, 1.0, true, now));
        let base = bases.learn(9, 1.0, true, now).unwrap();
        assert!(base > 0.9, "{base}");
    }

    #[test]
    fn one_freak_answer_is_not_believed() {
        let (mut bases, now) = (Bases::new(1800.0), Instant::now());
        repeat(20, || bases.learn(9, 0.5, true, now));
        bases.learn(9, 0.001, true, now);
        let base = bases.learn(9, 0.5, true, now).unwrap();
        assert!(base > 0.39, "{base}");
    }

    #[test]
    fn what_is_hardly_known_borrows_from_what_is_larger() {
        let (mut bases, now) = (Bases::new(1800.0), Instant::now());
        assert_eq!(bases.learn(20, 0.3, true, now), None, "nothing is known at first");
        repeat(20, || bases.learn(20, 0.3, true, now));
        assert_eq!(bases.learn(9, 2.0, false, now), Some(0.3), "a short prompt never takes longer than a long one");
        assert_eq!(bases.learn(30, 2.0, false, now), None, "of a longer one nothing follows");
    }
}
