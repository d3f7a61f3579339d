//! Values with counts, as histograms hold them: in rising order, no value twice, each with how many lie at or below it.

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    values: Vec<f64>,
    /// How many are at most the value at the same place.
    up_to: Vec<u64>,
}

impl Sample {
    /// Of values in any order; what is no number, or has a count of none, is left out.
    pub fn new(counted: impl IntoIterator<Item = (f64, u64)>) -> Sample {
        let mut counted: Vec<(f64, u64)> =
            counted.into_iter().filter(|(value, count)| !value.is_nan() && *count > 0).collect();
        counted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let mut sample = Sample::default();
        for (value, count) in counted {
            if sample.values.last() != Some(&value) {
                sample.values.push(value);
                sample.up_to.push(sample.total());
            }
            if let Some(last) = sample.up_to.last_mut() {
                *last += count;
            }
        }
        sample
    }

    pub fn total(&self) -> u64 {
        self.up_to.last().copied().unwrap_or(0)
    }

    /// The value of the `rank`th in order, from 1; beyond the last it is the last.
    pub fn at_rank(&self, rank: u64) -> Option<f64> {
        let place = self.up_to.partition_point(|up_to| *up_to < rank);
        self.values.get(place).or(self.values.last()).copied()
    }

    /// The least value that at least this share lies at or below, as HdrHistogram has it.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        self.at_rank(rank(quantile, self.total()))
    }

    /// How many are at most `value`.
    pub fn up_to(&self, value: f64) -> u64 {
        let place = self.values.partition_point(|known| *known <= value);
        if place == 0 { 0 } else { self.up_to[place - 1] }
    }

    pub fn counted(&self) -> impl Iterator<Item = (f64, u64)> {
        let before = std::iter::once(0).chain(self.up_to.iter().copied());
        self.values.iter().zip(self.up_to.iter().zip(before)).map(|(value, (up_to, before))| (*value, up_to - before))
    }

    /// The same with all below `least` raised to it: what lies there then counts as tied.
    pub fn raised_to(&self, least: f64) -> Sample {
        Sample::new(self.counted().map(|(value, count)| (value.max(least), count)))
    }

    pub fn and(&self, other: &Sample) -> Sample {
        Sample::new(self.counted().chain(other.counted()))
    }

    /// Each value that stands in either, in rising order, with its counts in the one and in the other.
    pub fn beside(&self, other: &Sample) -> impl Iterator<Item = (f64, u64, u64)> {
        let (mut ours, mut theirs) = (self.counted().peekable(), other.counted().peekable());
        std::iter::from_fn(move || {
            let value = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) => our.0.min(their.0),
                (Some(only), None) | (None, Some(only)) => only.0,
                (None, None) => return None,
            };
            let our = ours.next_if(|next| next.0 == value).map_or(0, |next| next.1);
            let their = theirs.next_if(|next| next.0 == value).map_or(0, |next| next.1);
            Some((value, our, their))
        })
    }
}

/// The place of a quantile among so many, from 1.
pub fn rank(quantile: f64, total: u64) -> u64 {
    // What rounding adds to a product that is whole, such as 0.95 x 20, is no further rank.
    let exact = quantile * total as f64;
    ((exact - exact * f64::EPSILON).ceil() as u64).clamp(1, total.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_with_their_counts_together() {
        let sample = Sample::new([(3.0, 1), (1.0, 2), (3.0, 4), (2.0, 0), (f64::NAN, 9)]);
        assert_eq!(sample.counted().collect::<Vec<_>>(), [(1.0, 2), (3.0, 5)]);
        assert_eq!((sample.total(), sample.up_to(0.5), sample.up_to(1.0), sample.up_to(9.0)), (7, 0, 2, 7));
    }

    #[test]
    fn a_quantile_is_a_value_that_was_there() {
        let sample = Sample::new((1..=20).map(|value| (f64::from(value), 1)));
        let found: Vec<_> = [0.0, 0.5, 0.95, 0.951, 1.0].map(|quantile| sample.quantile(quantile).unwrap()).into();
        assert_eq!(found, [1.0, 10.0, 19.0, 20.0, 20.0]);
        assert_eq!(Sample::default().quantile(0.5), None, "of nothing there is none");
    }

    #[test]
    fn two_samples_stand_side_by_side_in_order() {
        let (one, other) = (Sample::new([(1.0, 2), (3.0, 1)]), Sample::new([(2.0, 5), (3.0, 4)]));
        assert_eq!(one.beside(&other).collect::<Vec<_>>(), [(1.0, 2, 0), (2.0, 0, 5), (3.0, 1, 4)]);
    }

    #[test]
    fn what_is_raised_is_tied_and_nothing_is_lost() {
        let raised = Sample::new([(1.0, 2), (2.0, 3), (5.0, 1)]).raised_to(2.0);
        assert_eq!(raised.counted().collect::<Vec<_>>(), [(2.0, 5), (5.0, 1)]);
    }
}
