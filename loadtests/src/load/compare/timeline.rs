//! The latencies of a run slice by slice, so that slices can be drawn again.

use super::figure::Quantile;
use crate::load::result::Distribution;
use crate::stats::sample::{Sample, rank};

pub struct Timeline {
    bins: Vec<Bin>,
}

struct Bin {
    value: f64,
    /// How many of each slice are at most the value.
    up_to: Vec<u64>,
}

impl Timeline {
    /// Slices without a value are kept: they are part of the time.
    pub fn new(slices: &[Option<&Distribution>]) -> anyhow::Result<Timeline> {
        let samples: Vec<Sample> =
            slices.iter().map(|slice| slice.map_or(Ok(Sample::default()), sample)).collect::<anyhow::Result<_>>()?;
        let all = Sample::new(samples.iter().flat_map(Sample::counted));
        let bins = all
            .counted()
            .map(|(value, _)| Bin { value, up_to: samples.iter().map(|sample| sample.up_to(value)).collect() })
            .collect();
        Ok(Timeline { bins })
    }

    /// Of a run that has each slice so many times; none where it has no value.
    pub fn quantiles(&self, times: &[u32]) -> Option<[f64; 3]> {
        let up_to =
            |bin: &Bin| bin.up_to.iter().zip(times).map(|(count, times)| count * u64::from(*times)).sum::<u64>();
        let total = up_to(self.bins.last()?);
        if total == 0 {
            return None;
        }
        Some(Quantile::ALL.map(|quantile| {
            let rank = rank(quantile.share(), total);
            let place = self.bins.partition_point(|bin| up_to(bin) < rank);
            self.bins[place.min(self.bins.len() - 1)].value
        }))
    }
}

/// In milliseconds; each bin of the histogram stands for its middle.
pub fn sample(distribution: &Distribution) -> anyhow::Result<Sample> {
    let histogram = distribution.histogram()?;
    let bins = histogram.iter_recorded().map(|bin| {
        let middle = histogram.median_equivalent(bin.value_iterated_to());
        (middle as f64 / 1e6, bin.count_since_last_iteration())
    });
    Ok(Sample::new(bins))
}
