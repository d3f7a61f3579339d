//! Profiles: how the level of the load, requests a second or users, changes over a run.

use super::course::{Course, Curve, Segment};
use crate::load::scenario::number::{Amount, Positive};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Profile {
    Steady(Steady),
    /// Steady, but for so long that it is looked at in longer slices: for what grows slowly, as a leak does.
    Endurance(Steady),
    Ramp(Ramp),
    Spike(Spike),
    /// Until a service level breaks, or the greatest step is done.
    Stress(Stress),
    Peak(Peak),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    pub level: Positive,
    pub seconds: Positive,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    pub from: Amount,
    pub to: Amount,
    pub curve: Curve,
    pub seconds: Positive,
}

/// From `at`, for so long, the base so many times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spike {
    pub base: Positive,
    pub times: Positive,
    pub at: Amount,
    pub length: Positive,
    /// Of all of it.
    pub seconds: Positive,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stress {
    pub start: Positive,
    pub growth: Growth,
    pub step_seconds: Positive,
    /// No step goes beyond.
    pub most: Positive,
}

/// From one step to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    By(Positive),
    /// Above 1.
    Times(Positive),
}

/// Up, along, and down again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    pub base: Amount,
    pub peak: Positive,
    pub up_seconds: Positive,
    pub hold_seconds: Positive,
    pub down_seconds: Positive,
}

impl Profile {
    pub fn course(&self) -> Course {
        Course::new(match self {
            Profile::Steady(steady) | Profile::Endurance(steady) => {
                vec![Segment::level(steady.level.get(), steady.seconds.get())]
            }
            Profile::Ramp(ramp) => {
                let (from, to) = (ramp.from.get(), ramp.to.get());
                vec![Segment { seconds: ramp.seconds.get(), from, to, curve: ramp.curve }]
            }
            Profile::Spike(spike) => spike.segments(),
            Profile::Stress(stress) => {
                stress.levels().map(|level| Segment::level(level, stress.step_seconds.get())).collect()
            }
            Profile::Peak(Peak { base, peak, up_seconds, hold_seconds, down_seconds }) => vec![
                Segment::linear(base.get(), peak.get(), up_seconds.get()),
                Segment::level(peak.get(), hold_seconds.get()),
                Segment::linear(peak.get(), base.get(), down_seconds.get()),
            ],
        })
    }

    /// The level that a command line means with `--rate` or `--users`; the others keep their ratio to it.
    pub fn level(&self) -> f64 {
        match self {
            Profile::Steady(steady) | Profile::Endurance(steady) => steady.level.get(),
            Profile::Ramp(ramp) => ramp.to.get().max(ramp.from.get()),
            Profile::Spike(spike) => spike.base.get(),
            Profile::Stress(stress) => stress.start.get(),
            Profile::Peak(peak) => peak.peak.get(),
        }
    }

    /// The same at so many times the level.
    pub fn times_level(self, factor: f64) -> Profile {
        match self {
            Profile::Steady(steady) => Profile::Steady(steady.times_level(factor)),
            Profile::Endurance(steady) => Profile::Endurance(steady.times_level(factor)),
            Profile::Ramp(ramp) => {
                Profile::Ramp(Ramp { from: ramp.from.scaled(factor), to: ramp.to.scaled(factor), ..ramp })
            }
            Profile::Spike(spike) => Profile::Spike(Spike { base: spike.base.scaled(factor), ..spike }),
            Profile::Stress(stress) => Profile::Stress(stress.times_level(factor)),
            Profile::Peak(peak) => {
                Profile::Peak(Peak { base: peak.base.scaled(factor), peak: peak.peak.scaled(factor), ..peak })
            }
        }
    }

    /// The same in so many times the time, every part of it.
    pub fn times_seconds(self, factor: f64) -> Profile {
        let steady = |steady: Steady| Steady { seconds: steady.seconds.scaled(factor), ..steady };
        match self {
            Profile::Steady(it) => Profile::Steady(steady(it)),
            Profile::Endurance(it) => Profile::Endurance(steady(it)),
            Profile::Ramp(ramp) => Profile::Ramp(Ramp { seconds: ramp.seconds.scaled(factor), ..ramp }),
            Profile::Spike(spike) => Profile::Spike(spike.times_seconds(factor)),
            Profile::Stress(stress) => {
                Profile::Stress(Stress { step_seconds: stress.step_seconds.scaled(factor), ..stress })
            }
            Profile::Peak(peak) => Profile::Peak(peak.times_seconds(factor)),
        }
    }
}

impl Steady {
    fn times_level(self, factor: f64) -> Steady {
        Steady { level: self.level.scaled(factor), ..self }
    }
}

impl Spike {
    fn segments(&self) -> Vec<Segment> {
        let (base, at, length) = (self.base.get(), self.at.get(), self.length.get());
        let after = self.seconds.get() - at - length;
        vec![
            Segment::level(base, at),
            Segment::level(base * self.times.get(), length),
            Segment::level(base, after.max(0.0)),
        ]
    }

    fn times_seconds(self, factor: f64) -> Spike {
        let (at, length) = (self.at.scaled(factor), self.length.scaled(factor));
        Spike { at, length, seconds: self.seconds.scaled(factor), ..self }
    }
}

impl Stress {
    /// More is refused: none of them could be measured, and a start far below the most must not fill the memory.
    pub const MOST_STEPS: usize = 10_000;

    pub fn levels(&self) -> impl Iterator<Item = f64> + use<> {
        let Stress { start, growth, most, .. } = *self;
        let level = move |step: i32| match growth {
            Growth::By(by) => start.get() + by.get() * f64::from(step),
            Growth::Times(factor) => start.get() * factor.get().powi(step),
        };
        // A step that misses the most by rounding alone still counts.
        (0..).map(level).take_while(move |level| *level <= most.get() * (1.0 + 1e-9)).take(Stress::MOST_STEPS + 1)
    }

    fn times_level(self, factor: f64) -> Stress {
        let growth = match self.growth {
            Growth::By(by) => Growth::By(by.scaled(factor)),
            Growth::Times(_) => self.growth,
        };
        Stress { start: self.start.scaled(factor), most: self.most.scaled(factor), growth, ..self }
    }
}

impl Peak {
    fn times_seconds(self, factor: f64) -> Peak {
        Peak {
            up_seconds: self.up_seconds.scaled(factor),
            hold_seconds: self.hold_seconds.scaled(factor),
            down_seconds: self.down_seconds.scaled(factor),
            ..self
        }
    }
}
