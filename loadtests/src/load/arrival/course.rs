//! A level over time, in pieces: its value at a moment, its integral, and when the integral reaches a value.

use serde::{Deserialize, Serialize};

/// How a level gets from one value to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// By the same amount in each second.
    #[default]
    Linear,
    /// By the same ratio in each second; neither end may be 0.
    Exponential,
}

/// A piece of a course: requests a second, or users, from one level to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub seconds: f64,
    pub from: f64,
    pub to: f64,
    pub curve: Curve,
}

impl Segment {
    pub fn level(level: f64, seconds: f64) -> Segment {
        Segment { seconds, from: level, to: level, curve: Curve::Linear }
    }

    pub fn linear(from: f64, to: f64, seconds: f64) -> Segment {
        Segment { seconds, from, to, curve: Curve::Linear }
    }

    fn slope(&self) -> f64 {
        (self.to - self.from) / self.seconds
    }

    /// The exponent a second: 0 where the level stays.
    fn growth(&self) -> f64 {
        (self.to / self.from).ln() / self.seconds
    }

    fn is_flat(&self) -> bool {
        self.from == self.to
    }

    pub fn level_at(&self, seconds: f64) -> f64 {
        match self.curve {
            Curve::Linear => self.from + self.slope() * seconds,
            Curve::Exponential => self.from * (self.growth() * seconds).exp(),
        }
    }

    /// The whole integral.
    pub fn area(&self) -> f64 {
        match self.curve {
            Curve::Exponential if !self.is_flat() => (self.to - self.from) / self.growth(),
            _ => f64::midpoint(self.from, self.to) * self.seconds,
        }
    }

    /// When the integral reaches this, which is less than the whole.
    pub fn when_area(&self, area: f64) -> f64 {
        if area <= 0.0 {
            return 0.0;
        }
        let seconds = match self.curve {
            _ if self.is_flat() => area / self.from,
            // The root in the form that loses no digits where the slope is small.
            Curve::Linear => 2.0 * area / (self.from + (self.from.powi(2) + 2.0 * self.slope() * area).max(0.0).sqrt()),
            Curve::Exponential => (self.growth() * area / self.from).ln_1p() / self.growth(),
        };
        seconds.clamp(0.0, self.seconds)
    }

    /// When the level is this, which lies between its ends; a level that stays has it at once.
    pub fn when_level(&self, level: f64) -> f64 {
        let seconds = match self.curve {
            _ if self.is_flat() => 0.0,
            Curve::Linear => (level - self.from) / self.slope(),
            Curve::Exponential => (level / self.from).ln() / self.growth(),
        };
        seconds.clamp(0.0, self.seconds)
    }
}

/// Pieces, one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Course(Vec<Segment>);

impl Course {
    pub fn new(segments: Vec<Segment>) -> Course {
        Course(segments.into_iter().filter(|segment| segment.seconds > 0.0).collect())
    }

    /// The same, after this long at the level of its beginning.
    pub fn after_warmup(mut self, seconds: f64) -> Course {
        if let Some(first) = self.0.first().filter(|_| seconds > 0.0) {
            let warmup = Segment::level(first.from, seconds);
            self.0.insert(0, warmup);
        }
        self
    }

    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    pub fn seconds(&self) -> f64 {
        self.0.iter().map(|segment| segment.seconds).sum()
    }

    /// 0 where the course is over.
    pub fn level_at(&self, mut seconds: f64) -> f64 {
        for segment in &self.0 {
            if seconds < segment.seconds {
                return segment.level_at(seconds);
            }
            seconds -= segment.seconds;
        }
        0.0
    }

    /// How many arrivals are due in all of it.
    pub fn area(&self) -> f64 {
        self.0.iter().map(Segment::area).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Course, Curve, Segment};

    fn segments() -> impl Strategy<Value = Segment> {
        let curves = prop_oneof![Just(Curve::Linear), Just(Curve::Exponential)];
        (0.1..1e4_f64, 0.1..1e4_f64, 0.1..1e4_f64, curves).prop_map(|(seconds, from, to, curve)| Segment {
            seconds,
            from,
            to,
            curve,
        })
    }

    /// By Simpson's rule.
    fn integral(segment: &Segment, until: f64) -> f64 {
        let steps = 2000;
        let width = until / f64::from(steps);
        let weight = |step| if step == 0 || step == steps { 1.0 } else { f64::from(2 + 2 * (step % 2)) };
        (0..=steps).map(|step| weight(step) * segment.level_at(f64::from(step) * width)).sum::<f64>() * width / 3.0
    }

    proptest! {
        #[test]
        fn the_time_of_an_integral_is_where_the_integral_has_that_value(segment in segments(), share in 0.0..1.0_f64) {
            let area = segment.area() * share;
            let found = integral(&segment, segment.when_area(area));
            prop_assert!((found - area).abs() <= 1e-6 * segment.area(), "{found} for {area}");
        }

        #[test]
        fn the_time_of_a_level_is_where_it_is_that(segment in segments(), share in 0.0..1.0_f64) {
            let level = segment.from + share * (segment.to - segment.from);
            let found = segment.level_at(segment.when_level(level));
            prop_assert!((found - level).abs() <= 1e-9 * level.max(1.0), "{found} for {level}");
        }
    }

    #[test]
    fn a_ramp_may_begin_at_nothing() {
        let ramp = Segment::linear(0.0, 10.0, 10.0);
        assert_eq!(ramp.area(), 50.0);
        assert_eq!(ramp.when_area(0.0), 0.0, "no division of nothing by nothing");
        assert!((ramp.when_area(12.5) - 5.0).abs() < 1e-12, "a quarter is due at half the time");
    }

    #[test]
    fn a_course_is_warmed_up_at_its_first_level_and_ends() {
        let course = Course::new(vec![Segment::level(4.0, 2.0), Segment::linear(4.0, 8.0, 2.0)]).after_warmup(3.0);
        assert_eq!(course.seconds(), 7.0);
        assert_eq!(course.level_at(2.9), 4.0, "as it begins");
        assert_eq!(course.level_at(6.0), 6.0, "half way up");
        assert_eq!(course.level_at(7.0), 0.0, "nothing comes after the end");
        assert_eq!(course.area(), 4.0 * 5.0 + 12.0);
    }
}
