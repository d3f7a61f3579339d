//! The times of arrivals: a model's gaps, laid along a course.

use std::time::Duration;

use super::course::{Course, Segment};
use super::gaps::Gaps;
use super::{Arrivals, Purpose, Random, random};

/// In order, and over when the course is.
pub struct Times {
    gaps: Gaps,
    random: Random,
    segments: std::vec::IntoIter<Segment>,
    here: Option<Segment>,
    /// Seconds before this segment.
    before: f64,
    /// The integral that is behind, of this segment.
    used: f64,
    /// From the last arrival to the next, in units of the integral.
    gap: f64,
    last: Duration,
}

impl Times {
    pub fn new(arrivals: Arrivals, course: &Course, seed: u64) -> anyhow::Result<Times> {
        let (gaps, mut random) = (Gaps::new(arrivals)?, random(seed, Purpose::Times));
        let gap = gaps.first(&mut random);
        let mut segments = course.segments().to_vec().into_iter();
        let here = segments.next();
        Ok(Times { gaps, random, segments, here, before: 0.0, used: 0.0, gap, last: Duration::ZERO })
    }
}

impl Iterator for Times {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let segment = self.here?;
            let left = segment.area() - self.used;
            if self.gap < left {
                self.used += self.gap;
                self.gap = self.gaps.next(&mut self.random);
                let at = Duration::from_secs_f64(self.before + segment.when_area(self.used));
                // Rounding must not turn two around.
                self.last = self.last.max(at);
                return Some(self.last);
            }
            self.gap -= left;
            self.before += segment.seconds;
            self.used = 0.0;
            self.here = self.segments.next();
        }
    }
}
