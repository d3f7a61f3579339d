//! The evidence on latencies: quantiles with the errors of their logarithms, and ranks.

use super::Options;
use super::evidence::Evidence;
use super::figure::{Figure, METRICS, Quantile};
use super::timeline::{Timeline, sample};
use crate::load::result::{Distribution, Metric, Run, Slice};
use crate::stats::blocks::{Blocks, Variances};
use crate::stats::estimate::{Estimate, ratio};
use crate::stats::mann_whitney::MannWhitney;
use crate::stats::order::whole_sample;
use crate::stats::sample::Sample;

pub fn evidence(before: &Run, after: &Run, options: &Options) -> anyhow::Result<Vec<Evidence>> {
    let (earlier, later) = (Timelines::of(before, options)?, Timelines::of(after, options)?);
    let mut evidence = Vec::new();
    for metric in METRICS {
        let (Some(one), Some(other)) = (before.latencies.get(&metric), after.latencies.get(&metric)) else { continue };
        let pair = Pair {
            before: Measured {
                sample: sample(one)?,
                moments: earlier.of_metric(metric),
                cluster: cluster(before, metric),
            },
            after: Measured {
                sample: sample(other)?,
                moments: later.of_metric(metric),
                cluster: cluster(after, metric),
            },
        };
        evidence.extend(Quantile::ALL.into_iter().filter_map(|quantile| pair.evidence(metric, quantile, options)));
    }
    Ok(evidence)
}

/// How the quantiles vary over time. Only two metrics have a distribution for each slice; the others take from the one
/// that is nearest by how much the blocks find more error than independent values would have.
struct Timelines {
    end_to_end: Option<Moments>,
    ttft: Option<Moments>,
}

#[derive(Clone, Copy)]
struct Moments {
    blocks: Variances<3>,
    /// By how much the variance is greater than that of independent values; at least 1.
    design_effects: [f64; 3],
}

impl Timelines {
    fn of(run: &Run, options: &Options) -> anyhow::Result<Timelines> {
        let moments = |metric, slice: fn(&Slice) -> Option<&Distribution>| {
            let slices: Vec<_> = run.slices.iter().map(slice).collect();
            Moments::of(run.latencies.get(&metric), &Timeline::new(&slices)?, options)
        };
        Ok(Timelines {
            end_to_end: moments(Metric::EndToEnd, |slice| slice.end_to_end.as_ref())?,
            ttft: moments(Metric::Ttft, |slice| slice.ttft.as_ref())?,
        })
    }

    fn of_metric(&self, metric: Metric) -> Option<Moments> {
        match metric {
            Metric::EndToEnd | Metric::Service | Metric::ScheduleLag => self.end_to_end,
            Metric::Ttft | Metric::ServiceTtft | Metric::InterToken | Metric::Tpot => self.ttft.or(self.end_to_end),
        }
    }
}

impl Moments {
    fn of(whole: Option<&Distribution>, timeline: &Timeline, options: &Options) -> anyhow::Result<Option<Moments>> {
        let (Some(whole), Some(blocks)) = (whole, Blocks::new(timeline.slices())) else { return Ok(None) };
        let whole = sample(whole)?;
        let blocks = blocks.variances(options.replicates, options.seed, |times| timeline.quantiles(times));
        let mut design_effects = [1.0_f64; 3];
        for (place, quantile) in Quantile::ALL.into_iter().enumerate() {
            let alone = whole_sample(&whole, quantile.share(), options.replicates, options.seed);
            let Some(alone) = alone.filter(|alone| alone.variance > 0.0) else { continue };
            design_effects[place] = (blocks.variances[place] / alone.variance).max(1.0);
        }
        Ok(design_effects.iter().all(|effect| effect.is_finite()).then_some(Moments { blocks, design_effects }))
    }
}

/// The gaps of one stream are alike, so that they say no more than the stream does: how many count as one.
fn cluster(run: &Run, metric: Metric) -> f64 {
    let gaps = run.latencies.get(&metric).map_or(0, |distribution| distribution.count);
    match metric {
        Metric::InterToken if run.counts.streams > 0 => (gaps as f64 / run.counts.streams as f64).max(1.0),
        _ => 1.0,
    }
}

struct Pair {
    before: Measured,
    after: Measured,
}

struct Measured {
    sample: Sample,
    moments: Option<Moments>,
    cluster: f64,
}

impl Pair {
    /// None where neither run has enough values for the quantile.
    fn evidence(&self, metric: Metric, quantile: Quantile, options: &Options) -> Option<Evidence> {
        let least = self.before.sample.total().min(self.after.sample.total());
        if least < quantile.least_count() {
            return None;
        }
        let (before, after) = (self.before.estimate(quantile, options)?, self.after.estimate(quantile, options)?);
        let test = self.ranks(quantile)?;
        let effect = f64::midpoint(self.before.design_effect(quantile), self.after.design_effect(quantile));
        Some(Evidence {
            figure: Figure::Latency(metric, quantile),
            before: before.value,
            after: after.value,
            ratio: ratio(&before, &after, options.confidence),
            p_value: Some(test.p_value_with(effect)),
            delta: Some(test.delta()),
        })
    }

    /// What lies below the part that is ranked counts as tied: the generalised test of Gehan (1965).
    fn ranks(&self, quantile: Quantile) -> Option<MannWhitney> {
        let (before, after) = (&self.before.sample, &self.after.sample);
        let Some(from) = quantile.ranked_from() else { return MannWhitney::test(before, after) };
        let least = before.and(after).quantile(from)?;
        MannWhitney::test(&before.raised_to(least), &after.raised_to(least))
    }
}

impl Measured {
    /// The error is never less than independent values would have.
    fn estimate(&self, quantile: Quantile, options: &Options) -> Option<Estimate> {
        let alone = whole_sample(&self.sample, quantile.share(), options.replicates, options.seed)?;
        let freedom = self.moments.map_or(alone.freedom, |moments| moments.blocks.freedom);
        Some(Estimate { variance: alone.variance * self.design_effect(quantile), freedom, ..alone })
    }

    fn design_effect(&self, quantile: Quantile) -> f64 {
        self.cluster * self.moments.map_or(1.0, |moments| moments.design_effects[quantile as usize])
    }
}
