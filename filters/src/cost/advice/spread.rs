//! How values are spread, in a few bytes: counts of classes, whose quantiles are told by the upper edge.

/// Two classes to each doubling, up to 2^24: an edge lies at most 42 % above the value.
const SIZES: usize = 49;
const SHARES: usize = 21;

/// How numbers of tokens are spread.
#[derive(Clone, Copy, Debug)]
pub struct Sizes([u32; SIZES]);

/// How shares between 0 and 1 are spread, in steps of 5 %; the last class is for 1 and more.
#[derive(Clone, Copy, Debug)]
pub struct Shares([u32; SHARES]);

impl Default for Sizes {
    fn default() -> Self {
        Sizes([0; SIZES])
    }
}

impl Default for Shares {
    fn default() -> Self {
        Shares([0; SHARES])
    }
}

impl Sizes {
    pub fn add(&mut self, size: u64) {
        let class = (size.max(1) as f64).log2() * 2.0;
        let class = &mut self.0[(class.ceil() as usize).min(SIZES - 1)];
        *class = class.saturating_add(1);
    }

    pub fn merge(&mut self, other: &Sizes) {
        merge(&mut self.0, &other.0);
    }

    /// The upper edge of the class that the quantile lies in. 0 where nothing is known.
    pub fn quantile(&self, part: f64) -> u64 {
        quantile(&self.0, part).map_or(0, |class| 2_f64.powf(class as f64 / 2.0).round() as u64)
    }
}

impl Shares {
    pub fn add(&mut self, share: f64) {
        let class = (share * (SHARES - 1) as f64).floor();
        let class = &mut self.0[(class as usize).min(SHARES - 1)];
        *class = class.saturating_add(1);
    }

    pub fn merge(&mut self, other: &Shares) {
        merge(&mut self.0, &other.0);
    }

    /// The upper edge of the class that the quantile lies in. 1 where nothing is known.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.0, part).map_or(1.0, |class| ((class + 1) as f64 / (SHARES - 1) as f64).min(1.0))
    }
}

fn merge(into: &mut [u32], other: &[u32]) {
    into.iter_mut().zip(other).for_each(|(count, more)| *count = count.saturating_add(*more));
}

fn quantile(counts: &[u32], part: f64) -> Option<usize> {
    let all: u64 = counts.iter().copied().map(u64::from).sum();
    let wanted = ((all as f64 * part).ceil() as u64).max(1);
    let mut seen = 0;
    counts.iter().position(|count| {
        seen += u64::from(*count);
        seen >= wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_never_told_too_low_nor_half_as_much_again() {
        let mut sizes = Sizes::default();
        (1..=10_000).for_each(|size| sizes.add(size));
        for part in [0.01, 0.5, 0.99, 1.0] {
            let (truth, told) = (10_000.0 * part, sizes.quantile(part) as f64);
            assert!(told >= truth - 1.0 && told <= truth * 1.45, "{part}: {told} for {truth}");
        }
    }

    #[test]
    fn a_share_is_told_by_the_upper_edge_of_its_class() {
        let mut shares = Shares::default();
        assert_eq!(shares.quantile(0.99), 1.0, "nothing is known");
        (0..99).for_each(|_| shares.add(0.12));
        shares.add(7.0);
        assert_eq!((shares.quantile(0.5), shares.quantile(0.99), shares.quantile(1.0)), (0.15, 0.15, 1.0));
    }

    #[test]
    fn values_of_any_size_have_a_class() {
        let mut sizes = Sizes::default();
        [0, 1, u64::MAX].into_iter().for_each(|size| sizes.add(size));
        assert_eq!((sizes.quantile(0.5), sizes.quantile(1.0)), (1, 1 << 24));
        assert_eq!(Sizes::default().quantile(0.5), 0);
    }
}
