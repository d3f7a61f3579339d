//! From a scenario to a plan: every request with its time, or users by the stage.

use std::time::Duration;

use super::{Load, Scenario};
use crate::load::arrival::course::Segment;
use crate::load::arrival::{Course, Mix, Profile, Times, user_stages};
use crate::load::plan::{Plan, Planned};

/// A stretch of the load at one level, or on the way from one to another: a step of a stress, the spike itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// From the beginning of the load, the warm-up included, as `Planned::at`.
    pub at: Duration,
    pub duration: Duration,
    /// Requests a second, or users in a closed loop.
    pub from: f64,
    pub to: f64,
    /// For a mark: `400 requests a second`.
    pub what: String,
}

impl Scenario {
    /// What is to be sent when, the warm-up first. The same scenario has the same plan.
    ///
    /// A recorded trace is read whole before this returns, so that a fault in its last line is told before its first
    /// request, and no reading delays a sending.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let mut mix = Mix::new(&self.requests, self.seed).map_err(anyhow::Error::msg)?;
        Ok(match &self.load {
            Load::Closed(closed) => Plan::Closed(user_stages(&self.course(&closed.profile), closed.think.seconds())),
            Load::Open(open) => {
                let times = Times::new(open.arrivals, &self.course(&open.profile), self.seed)?;
                Plan::Open(Box::new(times.map(move |at| Planned { at, kind: mix.draw(), ..Planned::default() })))
            }
            Load::Trace(replay) => {
                let arrivals = replay.open(self.seed)?;
                Plan::Open(Box::new(arrivals.map(move |planned| Planned { kind: mix.draw(), ..planned })))
            }
        })
    }

    /// From the first request, the warm-up included; none of a trace that ends when its file does.
    pub fn duration(&self) -> Option<Duration> {
        match &self.load {
            Load::Trace(_) => self.load.duration(),
            load => load.duration().map(|duration| duration + self.warmup()),
        }
    }

    /// Requests a second at this time of the load, the warm-up included; none for a closed loop, whose rate is the
    /// target's, and for a trace.
    pub fn planned_rate_at(&self, at: Duration) -> Option<f64> {
        match &self.load {
            Load::Open(open) => Some(self.course(&open.profile).level_at(at.as_secs_f64())),
            Load::Closed(_) | Load::Trace(_) => None,
        }
    }

    /// The profile's stretches in order, without the warm-up; none of a trace.
    pub fn stages(&self) -> Vec<Stage> {
        let unit = match self.load {
            Load::Closed(_) => "users",
            _ => "requests a second",
        };
        let Some(profile) = self.load.profile() else { return Vec::new() };
        let mut at = self.warmup();
        let stage = |segment: &Segment| {
            let stage = Stage::of(segment, at, unit);
            at += stage.duration;
            stage
        };
        profile.course().segments().iter().map(stage).collect()
    }

    /// Whether the load is to end at the first stage that misses a service level.
    pub fn stops_at_a_missed_level(&self) -> bool {
        matches!(self.load.profile(), Some(Profile::Stress(_)))
    }

    fn course(&self, profile: &Profile) -> Course {
        profile.course().after_warmup(self.warmup_secs)
    }
}

impl Stage {
    fn of(segment: &Segment, at: Duration, unit: &str) -> Stage {
        let Segment { from, to, .. } = *segment;
        let what = if from == to { format!("{from} {unit}") } else { format!("from {from} to {to} {unit}") };
        Stage { at, duration: Duration::from_secs_f64(segment.seconds), from, to, what }
    }
}
