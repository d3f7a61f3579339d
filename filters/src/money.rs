//! Money, in whole nano-dollars: sums of it are exact, which those of floating dollars are not.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

const NANOS: u64 = 1_000_000_000;

/// Never negative, and at most nine thousand million dollars: more than that stays at that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(u64);

impl Money {
    pub const ZERO: Money = Money(0);
    /// As much as fits in a signed integer of 64 bits, which is what stores hold.
    pub const MOST: Money = Money(i64::MAX as u64);

    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MOST.0 { Self::MOST } else { Money(nanos) }
    }

    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// To the nearest nano-dollar. None for what is no amount: less than nothing, or no number.
    pub fn from_usd(dollars: f64) -> Option<Self> {
        (dollars >= 0.0).then(|| Money::from_nanos((dollars * NANOS as f64).round() as u64))
    }

    /// For figures that are shown: not for sums.
    pub fn usd(self) -> f64 {
        self.0 as f64 / NANOS as f64
    }

    pub const fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl Add for Money {
    type Output = Money;

    fn add(self, other: Money) -> Money {
        Money::from_nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::ZERO, Add::add)
    }
}

/// In dollars, exactly: `0.000001234`, `12.5`, `0`.
impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / NANOS, self.0 % NANOS);
        if rest == 0 {
            return write!(out, "{whole}");
        }
        let places = format!("{rest:09}");
        write!(out, "{whole}.{}", places.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_exactly() {
        for (nanos, words) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_234, "0.000001234"),
            (12_500_000_000, "12.5"),
            (3_000_000_000, "3"),
            (u64::MAX, "9223372036.854775807"),
        ] {
            assert_eq!(Money::from_nanos(nanos).to_string(), words);
        }
    }

    #[test]
    fn dollars_become_the_nearest_nano_dollar_and_nonsense_becomes_none() {
        assert_eq!(Money::from_usd(0.000_000_000_6), Some(Money::from_nanos(1)));
        assert_eq!(Money::from_usd(0.1), Some(Money::from_nanos(100_000_000)));
        assert_eq!(Money::from_usd(f64::INFINITY), Some(Money::MOST));
        assert_eq!((Money::from_usd(-0.1), Money::from_usd(f64::NAN)), (None, None));
    }

    #[test]
    fn sums_stop_at_the_most_and_at_nothing() {
        assert_eq!(Money::MOST + Money::from_nanos(1), Money::MOST);
        assert_eq!(Money::from_nanos(1).saturating_sub(Money::from_nanos(2)), Money::ZERO);
        assert_eq!([1, 2, 3].map(Money::from_nanos).into_iter().sum::<Money>().nanos(), 6);
    }
}
