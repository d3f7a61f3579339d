//! What is usual for a series: learned slowly, from minutes in which all was well.

use serde::{Deserialize, Serialize};

use super::samples::Estimate;

/// A minute with fewer values weighs less.
const WHOLE_MINUTE: f64 = 30.0;
/// How much faster it is learned that a backend has become faster: what is too high hides what is slow.
const FASTER: f64 = 10.0;
/// The evidence that takes, in standard errors.
const IS_FASTER: f64 = 4.0;
/// Minutes wander by this at most: more would hide any slowness.
const MOST_WANDER: f64 = 0.15;
/// Calls after which it is learned how minutes wander.
const KNOWN: f64 = 200.0;

/// Of logarithms of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub middle: f64,
    /// How much single calls spread.
    pub deviation: f64,
    /// How much whole minutes are off the middle, squared, beyond what their calls explain.
    wander: f64,
    /// Calls that it rests on; what has been forgotten is not among them.
    pub samples: f64,
    /// The time that it rests on; what has been forgotten is not among it.
    learned_secs: f64,
}

impl Baseline {
    /// From one stretch of this length.
    pub fn of(estimate: &Estimate, secs: f64) -> Self {
        Baseline {
            middle: estimate.middle,
            deviation: estimate.deviation,
            wander: 0.0,
            samples: estimate.count as f64,
            learned_secs: secs,
        }
    }

    pub fn is_ready(&self, min_samples: f64) -> bool {
        self.samples >= min_samples
    }

    /// What could be read from a file that somebody else wrote.
    pub fn is_sound(&self) -> bool {
        let is_small = |number: f64| (0.0..1e3).contains(&number);
        self.middle.abs() < 30.0
            && is_small(self.deviation)
            && self.wander.abs() < 1e3
            && (0.0..1e12).contains(&self.samples)
            && (0.0..1e12).contains(&self.learned_secs)
    }

    pub fn seconds(&self) -> f64 {
        self.middle.exp()
    }

    /// The doubt about a step from this to an estimate.
    pub fn noise(&self, estimate: &Estimate) -> f64 {
        let spread = estimate.deviation.max(self.deviation);
        let (there, here) =
            (Estimate::error(spread, estimate.count as f64), Estimate::error(self.deviation, self.samples));
        (there.powi(2) + here.powi(2) + self.wander()).sqrt()
    }

    /// What is beyond what so few minutes would show by chance.
    fn wander(&self) -> f64 {
        let minutes = (self.learned_secs / 60.0).max(1.0);
        let chance = Estimate::error(self.deviation, self.samples / minutes).powi(2) * (2.0 / minutes).sqrt();
        (self.wander - chance).clamp(0.0, MOST_WANDER.powi(2))
    }

    /// Learns from a stretch of this length. At first it is a plain average; what is older than the half-life then fades.
    pub fn learn(&mut self, estimate: &Estimate, secs: f64, half_life_secs: f64) {
        let step = estimate.middle - self.middle;
        let weight = secs * (estimate.count as f64 / WHOLE_MINUTE).min(1.0);
        let most = half_life_secs / std::f64::consts::LN_2;
        let plain = weight / (self.learned_secs.min(most) + weight);
        let is_faster = step < 0.0 && -step / self.noise(estimate).max(1e-9) >= IS_FASTER;
        let share = if is_faster { (plain * FASTER).clamp(plain, 0.5) } else { plain };
        let spread = estimate.deviation.max(self.deviation);
        let chance = Estimate::error(spread, estimate.count as f64).powi(2)
            + Estimate::error(self.deviation, self.samples).powi(2);
        // One odd minute must not make everything look like chance for a day.
        let beyond = (step.powi(2) - chance).min(MOST_WANDER.powi(2));
        // The first minutes are off a middle that is hardly known.
        if self.samples >= KNOWN {
            self.wander += (beyond - self.wander) * plain;
        }
        self.middle += step * share;
        self.deviation += (estimate.deviation - self.deviation) * plain;
        let fades = 0.5_f64.powf(weight / half_life_secs);
        self.samples = self.samples * fades + estimate.count as f64;
        self.learned_secs = (self.learned_secs + weight).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;

    fn minute(middle: f64) -> Estimate {
        Estimate { middle, deviation: 0.5, count: 600, slots: 12 }
    }

    fn after(minutes: usize, middle: f64) -> f64 {
        let mut baseline = Baseline::of(&minute(0.0), 60.0);
        (0..4 * 1440).for_each(|_| baseline.learn(&minute(0.0), 60.0, DAY));
        (0..minutes).for_each(|_| baseline.learn(&minute(middle), 60.0, DAY));
        baseline.middle / middle
    }

    #[test]
    fn half_of_a_change_is_learned_in_a_day_and_a_change_to_the_better_much_sooner() {
        let day = after(1440, 0.1);
        assert!((0.45..0.55).contains(&day), "{day}");
        let better = after(1440 / 8, -0.3);
        assert!(better > 0.45, "{better} in three hours");
    }

    #[test]
    fn the_first_hour_is_a_plain_average() {
        let mut baseline = Baseline::of(&minute(0.0), 60.0);
        (0..59).for_each(|number| baseline.learn(&minute(f64::from(number % 2) * 0.02), 60.0, DAY));
        assert!((baseline.middle - 0.01).abs() < 0.001, "{}", baseline.middle);
    }
}
