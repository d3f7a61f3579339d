//! One measure of one backend for one model: its class, and how it leaves it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::Baseline;
use super::report::Trend;
use super::samples::{Estimate, SLOT, SLOTS, Samples};
use super::{Because, Change, Class, Config, Measure};
use crate::windows::{millis, round};

/// Slots of the stretches that are looked at: half a minute, a minute, two minutes.
const STRETCHES: [usize; 3] = [6, 12, 24];
const MINUTE: usize = 12;
const LEARN_EVERY: Duration = Duration::from_secs(60);
/// A stretch must have this many calls, in this many slots: one bad second proves nothing.
const MIN_COUNT: usize = 20;
const MIN_SLOTS: usize = 3;
/// Standard errors that a step must be: see the head of `regression.rs`.
const EVIDENCE: f64 = 5.5;
/// A stretch that is less exact than this says nothing of classes, unless it is the longest.
const EXACT: f64 = 0.055;
/// A class is left below this part of its ratio, so many looks in a row.
const LEAVE: f64 = 0.95;
const LEAVE_LOOKS: u32 = 3;
const SILENT: Duration = Duration::from_secs(900);
/// A trend is a step of a tenth with this evidence.
const TREND_STEP: f64 = 0.095;
const TREND_EVIDENCE: f64 = 3.5;
const RECENT_MINUTES: usize = 5;
const MINUTES: usize = 15;

pub struct Settings {
    /// Logarithms of the ratios at which the classes begin.
    steps: [(Class, f64); 3],
    pub min_samples: f64,
    half_life_secs: f64,
    adopt_after: Duration,
}

impl Settings {
    pub fn of(config: &Config) -> Self {
        Settings {
            steps: [
                (Class::Severe, config.severe.ln()),
                (Class::Moderate, config.moderate.ln()),
                (Class::Minor, config.minor.ln()),
            ],
            min_samples: config.baseline_min_samples as f64,
            half_life_secs: config.baseline_half_life_secs as f64,
            adopt_after: Duration::from_secs(config.adopt_after_secs),
        }
    }

    /// The class of a step, if it need only be so much of it.
    fn class(&self, step: f64, part: f64) -> Class {
        let found = self.steps.iter().find(|(_, from)| step >= from + part.ln());
        found.map_or(Class::Normal, |(class, _)| *class)
    }
}

pub struct Series {
    pub samples: Samples,
    pub baseline: Option<Baseline>,
    pub class: Class,
    /// Since when it has been in its class, and since when it has been normal or not.
    pub since: Instant,
    turned: Instant,
    learned: Instant,
    heard: Instant,
    below: u32,
    /// The last minutes, the newest last.
    minutes: VecDeque<Option<Estimate>>,
}

/// A series has turned to another class.
pub struct Turn {
    was: Class,
    class: Class,
    because: Because,
    baseline: Baseline,
    found: Option<Estimate>,
}

impl Turn {
    pub fn told(self, backend: &Arc<str>, model: &Arc<str>, measure: Measure) -> Change {
        let seconds = self.found.map(|found| found.middle.exp());
        Change {
            backend: backend.to_string(),
            model: model.to_string(),
            measure,
            was: self.was,
            class: self.class,
            because: self.because,
            ratio: seconds.map(|seconds| round(seconds / self.baseline.seconds())),
            current_ms: seconds.map(millis),
            baseline_ms: millis(self.baseline.seconds()),
            samples: self.found.map_or(0, |found| found.count),
        }
    }
}

impl Series {
    pub fn new(now: Instant) -> Self {
        Series {
            samples: Samples::new(),
            baseline: None,
            class: Class::Normal,
            since: now,
            turned: now,
            learned: now,
            heard: now,
            below: 0,
            minutes: VecDeque::new(),
        }
    }

    pub fn with(baseline: Baseline, now: Instant) -> Self {
        Series { baseline: Some(baseline), ..Series::new(now) }
    }

    pub fn tick(&mut self, now: Instant, settings: &Settings) -> Option<Turn> {
        let turn = self.look(now, settings);
        if now.saturating_duration_since(self.learned) >= LEARN_EVERY {
            self.learned = now;
            self.minute_is_over(now, settings);
        }
        turn
    }

    /// The shortest stretch that is exact enough.
    pub fn now(&self, now: Instant) -> Option<Estimate> {
        let baseline = self.baseline.as_ref()?;
        let mut stretches = STRETCHES.iter().filter_map(|slots| self.stretch(now, *slots, baseline));
        stretches.find(|found| found.slots >= MINUTE / 2).or_else(|| self.samples.estimate(now, 0, SLOTS))
    }

    pub fn trend(&self) -> Trend {
        let recent = pooled(self.minutes.iter().rev().take(RECENT_MINUTES));
        let before = pooled(self.minutes.iter().rev().skip(RECENT_MINUTES));
        let Some(((recent, doubt), (before, earlier_doubt))) = recent.zip(before) else { return Trend::Unknown };
        let (step, doubt) = (recent - before, (doubt + earlier_doubt).sqrt());
        match step {
            _ if step.abs() < TREND_STEP || step.abs() < TREND_EVIDENCE * doubt => Trend::Stable,
            _ if step > 0.0 => Trend::Degrading,
            _ => Trend::Improving,
        }
    }

    fn stretch(&self, now: Instant, slots: usize, baseline: &Baseline) -> Option<Estimate> {
        let found = self.samples.estimate(now, 0, slots)?;
        // By the usual spread: while calls become slower, slow and fast ones together spread more than either.
        let is_exact =
            Estimate::error(baseline.deviation, found.count as f64) <= EXACT || Some(&slots) == STRETCHES.last();
        (is_exact && found.count >= MIN_COUNT && found.slots >= MIN_SLOTS).then_some(found)
    }

    fn look(&mut self, now: Instant, settings: &Settings) -> Option<Turn> {
        let baseline = self.baseline.filter(|baseline| baseline.is_ready(settings.min_samples))?;
        if self.class != Class::Normal && now.saturating_duration_since(self.turned) >= settings.adopt_after {
            let found = self.samples.estimate(now, 0, SLOTS).filter(|found| found.count >= MIN_COUNT);
            if let Some(found) = found {
                self.baseline = Some(Baseline::of(&found, LEARN_EVERY.as_secs_f64()));
                return Some(self.turn(now, Class::Normal, Because::Adopted, baseline, Some(found)));
            }
        }
        let found: Vec<Estimate> = STRETCHES.iter().filter_map(|slots| self.stretch(now, *slots, &baseline)).collect();
        // A call now and then shows nothing: it must not hold a class for ever.
        let Some(first) = found.first().copied() else {
            let is_over = now.saturating_duration_since(self.heard) >= SILENT && self.class != Class::Normal;
            return is_over.then(|| self.turn(now, Class::Normal, Because::Silent, baseline, None));
        };
        self.heard = now;
        let classed = |found: &Estimate| {
            let step = found.middle - baseline.middle;
            if step < EVIDENCE * baseline.noise(found) { Class::Normal } else { settings.class(step, 1.0) }
        };
        // Behind a recovery the longer stretches still hold slow calls: the shortest must say so, too.
        let still = settings.class(first.middle - baseline.middle, 1.0);
        let worst = found.iter().map(|found| (classed(found).min(still), found)).max_by_key(|(class, _)| *class);
        if let Some((class, found)) = worst.filter(|(class, _)| *class > self.class) {
            return Some(self.turn(now, class, Because::Slower, baseline, Some(*found)));
        }
        self.leave(now, settings, baseline, &first)
    }

    fn leave(&mut self, now: Instant, settings: &Settings, baseline: Baseline, found: &Estimate) -> Option<Turn> {
        let still = settings.class(found.middle - baseline.middle, LEAVE);
        self.below = if still < self.class { self.below + 1 } else { 0 };
        (self.below >= LEAVE_LOOKS).then(|| self.turn(now, still, Because::Faster, baseline, Some(*found)))
    }

    fn turn(
        &mut self,
        now: Instant,
        class: Class,
        because: Because,
        baseline: Baseline,
        found: Option<Estimate>,
    ) -> Turn {
        let was = std::mem::replace(&mut self.class, class);
        if (was == Class::Normal) != (class == Class::Normal) {
            self.turned = now;
        }
        (self.since, self.below) = (now, 0);
        Turn { was, class, because, baseline, found }
    }

    /// All that is kept, once it is whole: the first seconds alone say nothing of how calls spread.
    fn first(&self, now: Instant) -> Option<Baseline> {
        let all = SLOT * SLOTS as u32;
        let is_whole = now.saturating_duration_since(self.turned) >= all;
        let found = self.samples.estimate(now, 0, SLOTS).filter(|found| is_whole && found.count >= MIN_COUNT / 2)?;
        Some(Baseline::of(&found, all.as_secs_f64()))
    }

    /// Learns the oldest minute that is kept: by now it would be known if it was a slow one.
    fn minute_is_over(&mut self, now: Instant, settings: &Settings) {
        if self.minutes.len() >= MINUTES {
            self.minutes.pop_front();
        }
        self.minutes.push_back(self.samples.estimate(now, 0, MINUTE));
        let is_ready = self.baseline.is_some_and(|baseline| baseline.is_ready(settings.min_samples));
        let was_well = self.class == Class::Normal && now.saturating_duration_since(self.turned) >= SLOT * SLOTS as u32;
        if is_ready && !was_well {
            return;
        }
        let Some(baseline) = &mut self.baseline else {
            self.baseline = self.first(now);
            return;
        };
        if let Some(found) = self.samples.estimate(now, SLOTS - MINUTE, MINUTE) {
            baseline.learn(&found, LEARN_EVERY.as_secs_f64(), settings.half_life_secs);
        }
    }
}

/// The mean of these, by how exact each is, and the square of its doubt. None if fewer than three have enough calls.
fn pooled<'e>(minutes: impl Iterator<Item = &'e Option<Estimate>>) -> Option<(f64, f64)> {
    let known: Vec<&Estimate> = minutes.flatten().filter(|found| found.count >= MIN_COUNT).collect();
    let weigh = |found: &Estimate| Estimate::error(found.deviation.max(1e-3), found.count as f64).powi(-2);
    let all: f64 = known.iter().map(|found| weigh(found)).sum();
    let mean = known.iter().map(|found| weigh(found) * found.middle).sum::<f64>() / all;
    (known.len() >= 3).then_some((mean, 1.0 / all))
}
