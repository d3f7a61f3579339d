//! The last three minutes of one series, as logarithms, and where their middle is.
//!
//! Each five seconds keep so many values drawn at random of all that came, so that a burst weighs no more than a calm.

use std::time::Duration;

use tokio::time::Instant;

use crate::windows::Ring;

pub const SLOT: Duration = Duration::from_secs(5);
pub const SLOTS: usize = 36;
/// Values kept of a slot.
const KEPT: usize = 64;
/// The share of values on either side that the middle does not heed: one answer in ten may be as odd as it likes.
/// Of normal values such a mean is worth 95 % of a plain one; a median would be worth 64 %.
const TRIMMED: f64 = 0.1;
/// Shorter times than these are none that a call could take.
const SHORTEST_SECONDS: f64 = 1e-6;

#[derive(Default)]
struct Slot {
    seen: u32,
    kept: Vec<f32>,
}

pub struct Samples(Ring<Slot>);

/// Of logarithms of seconds.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub middle: f64,
    /// The standard deviation of values without their tails, as Winsor has it.
    pub deviation: f64,
    pub count: usize,
    /// Slots that have any.
    pub slots: usize,
}

impl Estimate {
    /// The standard error of the middle of so many values that spread so much (Tukey and McLaughlin 1963).
    pub fn error(deviation: f64, count: f64) -> f64 {
        deviation / ((1.0 - 2.0 * TRIMMED) * count.max(1.0).sqrt())
    }

    fn of(mut values: Vec<f32>, slots: usize) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        values.sort_unstable_by(f32::total_cmp);
        let count = values.len();
        let cut = (count as f64 * TRIMMED) as usize;
        let inner = values.get(cut..count - cut)?;
        let (low, high) = (f64::from(*inner.first()?), f64::from(*inner.last()?));
        let sum: f64 = inner.iter().map(|value| f64::from(*value)).sum();
        let ends = cut as f64;
        let mean = (sum + ends * (low + high)) / count as f64;
        let squares: f64 = inner.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
        let squares = squares + ends * ((low - mean).powi(2) + (high - mean).powi(2));
        let deviation = (squares / (count as f64 - 1.0).max(1.0)).sqrt();
        Some(Estimate { middle: sum / inner.len() as f64, deviation, count, slots })
    }
}

impl Samples {
    pub fn new() -> Self {
        Samples(Ring::new(SLOT, SLOTS))
    }

    pub fn add(&mut self, now: Instant, seconds: f64, random: &mut fastrand::Rng) {
        if !seconds.is_finite() {
            return;
        }
        let value = seconds.max(SHORTEST_SECONDS).ln() as f32;
        let slot = self.0.slot(now);
        slot.seen = slot.seen.saturating_add(1);
        if slot.kept.len() < KEPT {
            slot.kept.push(value);
        } else if let Some(place) = slot.kept.get_mut(random.usize(..slot.seen as usize)) {
            *place = value;
        }
    }

    /// Of so many slots, before the last so many.
    pub fn estimate(&self, now: Instant, skipped: usize, count: usize) -> Option<Estimate> {
        let (mut values, mut slots) = (Vec::new(), 0);
        for slot in self.0.back(now, skipped, count).filter(|slot| !slot.kept.is_empty()) {
            values.extend_from_slice(&slot.kept);
            slots += 1;
        }
        Estimate::of(values, slots)
    }

    pub fn bytes(&self) -> usize {
        self.0.all().iter().map(|slot| size_of::<Slot>() + slot.kept.capacity() * size_of::<f32>()).sum()
    }
}
