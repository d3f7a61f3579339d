//! A course of users in a closed loop: whole numbers of them, in stages.

use std::time::Duration;

use super::course::{Course, Segment};
use crate::load::plan::Users;

/// At every moment the level rounded to the nearest, but at least one; a new stage begins where that changes.
pub fn stages(course: &Course, think: Duration) -> Vec<Users> {
    let mut stages: Vec<Users> = Vec::new();
    for segment in course.segments() {
        for (count, seconds) in pieces(segment) {
            let duration = Duration::from_secs_f64(seconds);
            match stages.last_mut() {
                Some(last) if last.count == count => last.duration += duration,
                _ => stages.push(Users { count, duration, think }),
            }
        }
    }
    stages.retain(|stage| !stage.duration.is_zero());
    stages
}

fn pieces(segment: &Segment) -> Vec<(usize, f64)> {
    let (first, last) = (whole(segment.from), whole(segment.to));
    let counts: Vec<usize> = if first <= last { (first..=last).collect() } else { (last..=first).rev().collect() };
    let mut begin = 0.0;
    let mut pieces = Vec::with_capacity(counts.len());
    for (place, count) in counts.iter().enumerate() {
        let end = match counts.get(place + 1) {
            Some(next) => segment.when_level(f64::midpoint(*count as f64, *next as f64)),
            None => segment.seconds,
        };
        pieces.push((*count, end - begin));
        begin = end;
    }
    pieces
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "levels are positive and at most 10^9")]
fn whole(level: f64) -> usize {
    (level.round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(count: usize, milliseconds: u64) -> Users {
        Users { count, duration: Duration::from_millis(milliseconds), think: Duration::ZERO }
    }

    #[test]
    fn a_ramp_of_users_changes_at_the_halves() {
        let ramp = Course::new(vec![Segment::linear(1.0, 3.0, 4.0)]);
        assert_eq!(stages(&ramp, Duration::ZERO), [stage(1, 1000), stage(2, 2000), stage(3, 1000)]);
        let down = Course::new(vec![Segment::linear(3.0, 1.0, 4.0), Segment::level(1.0, 1.0)]);
        assert_eq!(stages(&down, Duration::ZERO), [stage(3, 1000), stage(2, 2000), stage(1, 2000)]);
    }

    #[test]
    fn there_is_always_one_user() {
        let ramp = Course::new(vec![Segment::linear(0.0, 2.0, 2.0)]);
        assert_eq!(stages(&ramp, Duration::ZERO), [stage(1, 1500), stage(2, 500)]);
    }
}
