//! The evidence on latencies: quantiles with the errors of their logarithms, and ranks.

use super::Options;
use super::evidence::Evidence;
use super::figure::{Figure, METRICS, Quantile};
use super::timeline::{Timeline, sample};
use crate::load::result::{Distribution, Metric, Run, Slice};
use crate::stats::blocks::{self, Blocks};
use crate::stats::estimate::{Estimate, ratio};
use crate::stats::mann_whitney::MannWhitney;
use crate::stats::order::whole_sample;
use crate::stats::sample::Sample;

pub fn evidence(before: &Run, after: &Run, options: &Options) -> anyhow::Result<Vec<Evidence>> {
    let dependence = Dependences::of(before, after, options)?;
    let mut evidence = Vec::new();
    for metric in METRICS {
        let (Some(one), Some(other)) = (before.latencies.get(&metric), after.latencies.get(&metric)) else { continue };
        let pair = Pair {
            before: Measured { sample: sample(one)?, cluster: cluster(before, metric) },
            after: Measured { sample: sample(other)?, cluster: cluster(after, metric) },
            dependence: dependence.of_metric(metric),
        };
        evidence.extend(Quantile::ALL.into_iter().filter_map(|quantile| pair.evidence(metric, quantile, options)));
    }
    Ok(evidence)
}

/// How much the requests of a slice have in common. Only two metrics have a distribution for each slice; the others take
/// theirs from the nearer one.
struct Dependences {
    end_to_end: Option<Dependence>,
    ttft: Option<Dependence>,
}

#[derive(Clone, Copy)]
struct Dependence {
    /// By how much the variance of each quantile is greater than that of independent values; at least 1.
    design_effects: [f64; 3],
    /// Of each run's share in that.
    freedoms: [f64; 2],
}

impl Dependences {
    fn of(before: &Run, after: &Run, options: &Options) -> anyhow::Result<Dependences> {
        let dependence = |metric, slice: fn(&Slice) -> Option<&Distribution>| {
            let variances = |run: &Run| Variances::of(run, metric, slice, options);
            anyhow::Ok(variances(before)?.zip(variances(after)?).and_then(|(one, other)| Dependence::of(&one, &other)))
        };
        Ok(Dependences {
            end_to_end: dependence(Metric::EndToEnd, |slice| slice.end_to_end.as_ref())?,
            ttft: dependence(Metric::Ttft, |slice| slice.ttft.as_ref())?,
        })
    }

    fn of_metric(&self, metric: Metric) -> Option<Dependence> {
        match metric {
            Metric::EndToEnd | Metric::Service | Metric::ScheduleLag => self.end_to_end,
            Metric::Ttft | Metric::ServiceTtft | Metric::InterToken | Metric::Tpot => self.ttft.or(self.end_to_end),
        }
    }
}

impl Dependence {
    /// Of both runs together: a variance that was found from a few blocks is uncertain, and that of two is less so.
    fn of(before: &Variances, after: &Variances) -> Option<Dependence> {
        let effect = |place: usize| {
            let blocks = before.blocks.variances[place] + after.blocks.variances[place];
            let alone = before.alone[place] + after.alone[place];
            if alone > 0.0 { (blocks / alone).max(1.0) } else { 1.0 }
        };
        let design_effects = [effect(0), effect(1), effect(2)];
        let freedoms = [before.blocks.freedom, after.blocks.freedom];
        design_effects.iter().all(|effect| effect.is_finite()).then_some(Dependence { design_effects, freedoms })
    }
}

/// Of the quantiles of one run, found from blocks of slices, and as if all values were independent.
struct Variances {
    blocks: blocks::Variances<3>,
    alone: [f64; 3],
}

impl Variances {
    /// None where there are too few slices.
    fn of(
        run: &Run,
        metric: Metric,
        slice: fn(&Slice) -> Option<&Distribution>,
        options: &Options,
    ) -> anyhow::Result<Option<Variances>> {
        let (Some(whole), Some(blocks)) = (run.latencies.get(&metric), Blocks::new(run.slices.len())) else {
            return Ok(None);
        };
        let timeline = Timeline::new(&run.slices.iter().map(slice).collect::<Vec<_>>())?;
        let whole = sample(whole)?;
        let alone = Quantile::ALL.map(|quantile| {
            let estimate = whole_sample(&whole, quantile.share(), options.replicates, options.seed);
            estimate.map_or(f64::INFINITY, |estimate| estimate.variance)
        });
        let blocks = blocks.variances(options.replicates, options.seed, |times| timeline.quantiles(times));
        Ok(Some(Variances { blocks, alone }))
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
    dependence: Option<Dependence>,
}

struct Measured {
    sample: Sample,
    cluster: f64,
}

impl Pair {
    /// None where neither run has enough values for the quantile.
    fn evidence(&self, metric: Metric, quantile: Quantile, options: &Options) -> Option<Evidence> {
        let least = self.before.sample.total().min(self.after.sample.total());
        if least < quantile.least_count() {
            return None;
        }
        let [before, after] = self.estimates(quantile, options)?;
        let test = self.ranks(quantile)?;
        let cluster = f64::midpoint(self.before.cluster, self.after.cluster);
        Some(Evidence {
            figure: Figure::Latency(metric, quantile),
            before: before.value,
            after: after.value,
            ratio: ratio(&before, &after, options.confidence),
            p_value: Some(test.p_value_with(cluster * self.design_effect(quantile))),
            delta: Some(test.delta()),
        })
    }

    /// The errors are never less than independent values would have.
    fn estimates(&self, quantile: Quantile, options: &Options) -> Option<[Estimate; 2]> {
        let estimate = |measured: &Measured, place: usize| {
            let alone = whole_sample(&measured.sample, quantile.share(), options.replicates, options.seed)?;
            let freedom = self.dependence.map_or(alone.freedom, |dependence| dependence.freedoms[place]);
            let variance = alone.variance * measured.cluster * self.design_effect(quantile);
            Some(Estimate { variance, freedom, ..alone })
        };
        Some([estimate(&self.before, 0)?, estimate(&self.after, 1)?])
    }

    /// What lies below the part that is ranked counts as tied: the generalised test of Gehan (1965).
    fn ranks(&self, quantile: Quantile) -> Option<MannWhitney> {
        let (before, after) = (&self.before.sample, &self.after.sample);
        let Some(from) = quantile.ranked_from() else { return MannWhitney::test(before, after) };
        let least = before.and(after).quantile(from)?;
        MannWhitney::test(&before.raised_to(least), &after.raised_to(least))
    }

    fn design_effect(&self, quantile: Quantile) -> f64 {
        self.dependence.map_or(1.0, |dependence| dependence.design_effects[quantile as usize])
    }
}
