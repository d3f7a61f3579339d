//! The highest rate that meets the levels, and how sure that is.
//!
//! Whether a rate is met is a noisy answer near the limit. So the limit is found several times over: each time by
//! bisection, on the logarithm of the rate, until the highest rate that was met and the lowest that was not are as close
//! as asked for. The searches after the first begin around what the others found, and widen that where it does not hold.
//! The result is the geometric mean of what they found; its interval is Student's over the logarithms, and never
//! narrower than the step that bisection stopped at.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A later search begins this factor below and above what was found before.
const AROUND: f64 = 1.15;

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub min: f64,
    pub max: f64,
    /// Bisection ends where the two sides are within this ratio, such as 1.03.
    pub precision: f64,
    pub searches: usize,
    pub confidence: f64,
}

/// One run at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Probe {
    pub rate: f64,
    pub met: bool,
    /// The load tester did not keep its schedule: it says nothing of the target.
    pub lagged: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Requests a second; where even the least is not met, none.
    pub rate: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub confidence: f64,
    /// Even the greatest rate was met: the limit is beyond it.
    pub beyond: bool,
    /// Where a rate was missed next to the limit, it was because the load tester lagged: the limit is its own.
    pub limited_by_lag: bool,
    /// What each search found.
    pub searches: Vec<f64>,
    /// All runs, in order.
    pub probes: Vec<Probe>,
}

/// One side of a search is met and the other is not.
struct Bracket {
    met: f64,
    missed: f64,
}

/// Searches by running a probe at one rate after another. An error of the probe's ends the search.
pub async fn search<P>(bounds: Bounds, mut probe: P) -> anyhow::Result<Found>
where
    P: AsyncFnMut(f64) -> anyhow::Result<Probe>,
{
    anyhow::ensure!(bounds.min > 0.0 && bounds.min < bounds.max, "--min must be above 0 and below --max");
    anyhow::ensure!(bounds.precision > 1.0, "the precision is a ratio above 1");
    let (mut probes, mut searches) = (Vec::new(), Vec::<f64>::new());
    let mut beyond = false;
    for _ in 0..bounds.searches.max(1) {
        let around = geometric_mean(&searches).map_or((bounds.min, bounds.max), |rate| (rate / AROUND, rate * AROUND));
        let start = Bracket { met: around.0.max(bounds.min), missed: around.1.min(bounds.max) };
        match bracket(bounds, start, &mut probes, &mut probe).await? {
            Side::Between(bracket) => searches.push(bisect(bounds, bracket, &mut probes, &mut probe).await?),
            Side::Beyond => {
                beyond = true;
                searches.push(bounds.max);
                // To search again would only say it again.
                if searches.len() == 1 {
                    break;
                }
            }
            // A limit below the least has no place among those that were found.
            Side::Below => break,
        }
    }
    Ok(found(bounds, searches, probes, beyond))
}

enum Side {
    Between(Bracket),
    Beyond,
    Below,
}

/// Widens the bracket until its lower side is met and its upper one is not.
async fn bracket<P>(bounds: Bounds, start: Bracket, probes: &mut Vec<Probe>, probe: &mut P) -> anyhow::Result<Side>
where
    P: AsyncFnMut(f64) -> anyhow::Result<Probe>,
{
    let Bracket { met: mut low, missed: mut high } = start;
    while !ask(low, probes, probe).await? {
        if low <= bounds.min {
            return Ok(Side::Below);
        }
        (low, high) = ((low / AROUND).max(bounds.min), low);
    }
    // Where the lower side was lowered, the upper one is known to be missed.
    if probes.iter().rev().any(|probe| probe.rate == high && !probe.met) && high < start.missed {
        return Ok(Side::Between(Bracket { met: low, missed: high }));
    }
    while ask(high, probes, probe).await? {
        if high >= bounds.max {
            return Ok(Side::Beyond);
        }
        (low, high) = (high, (high * AROUND).min(bounds.max));
    }
    Ok(Side::Between(Bracket { met: low, missed: high }))
}

async fn bisect<P>(bounds: Bounds, start: Bracket, probes: &mut Vec<Probe>, probe: &mut P) -> anyhow::Result<f64>
where
    P: AsyncFnMut(f64) -> anyhow::Result<Probe>,
{
    let Bracket { mut met, mut missed } = start;
    while missed / met > bounds.precision {
        let middle = (met * missed).sqrt();
        if ask(middle, probes, probe).await? {
            met = middle;
        } else {
            missed = middle;
        }
    }
    Ok((met * missed).sqrt())
}

async fn ask<P>(rate: f64, probes: &mut Vec<Probe>, probe: &mut P) -> anyhow::Result<bool>
where
    P: AsyncFnMut(f64) -> anyhow::Result<Probe>,
{
    let answer = probe(rate).await?;
    probes.push(answer);
    Ok(answer.met)
}

fn found(bounds: Bounds, searches: Vec<f64>, probes: Vec<Probe>, beyond: bool) -> Found {
    let rate = geometric_mean(&searches);
    let half = half_width(bounds, &searches);
    let limited_by_lag = rate.is_some_and(|rate| {
        let near = |probe: &&Probe| !probe.met && probe.rate <= rate * AROUND;
        probes.iter().filter(near).count() > 0 && probes.iter().filter(near).all(|probe| probe.lagged)
    });
    Found {
        rate,
        low: rate.map(|rate| rate / half.exp()),
        high: rate.map(|rate| rate * half.exp()),
        confidence: bounds.confidence,
        beyond,
        limited_by_lag,
        searches,
        probes,
    }
}

/// Of the interval, on the logarithm.
fn half_width(bounds: Bounds, searches: &[f64]) -> f64 {
    let resolution = bounds.precision.ln() / 2.0;
    let count = searches.len() as f64;
    let Some(mean) = geometric_mean(searches).map(f64::ln) else { return resolution };
    let squares: f64 = searches.iter().map(|rate| (rate.ln() - mean).powi(2)).sum();
    let Ok(student) = StudentsT::new(0.0, 1.0, count - 1.0) else { return resolution };
    let deviation = (squares / (count - 1.0)).sqrt();
    let half = student.inverse_cdf(f64::midpoint(1.0, bounds.confidence)) * deviation / count.sqrt();
    half.max(resolution)
}

fn geometric_mean(rates: &[f64]) -> Option<f64> {
    let sum: f64 = rates.iter().map(|rate| rate.ln()).sum();
    (!rates.is_empty()).then(|| (sum / rates.len() as f64).exp())
}

#[cfg(test)]
mod tests;
