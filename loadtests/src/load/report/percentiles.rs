//! A distribution as a curve over the quantiles, as HdrHistogram plots it.

use crate::load::report::chart::Point;
use crate::load::result::Distribution;

/// Points to each further nine.
const DENSITY: u32 = 24;

/// Milliseconds at quantiles that lie at equal distances on a logarithmic axis, as far as the count can tell them; an
/// error where the histogram cannot be read.
pub fn curve(of: &Distribution) -> anyhow::Result<Vec<Point>> {
    let histogram = of.histogram()?;
    if histogram.is_empty() {
        return Ok(Vec::new());
    }
    let nines = (histogram.len() as f64).log10();
    let steps = (nines * f64::from(DENSITY)).ceil() as u32;
    let quantiles = (0..=steps)
        .map(|step| 1.0 - 10_f64.powf(-f64::from(step).min(nines * f64::from(DENSITY)) / f64::from(DENSITY)));
    let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    Ok(quantiles.map(|quantile| Point { x: quantile, y: Some(milliseconds(quantile)) }).collect())
}
