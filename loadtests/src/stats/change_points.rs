//! Where a history changed: the points at which a series of figures, one a run, goes over to another level.
//!
//! The algorithm is that of Hunter (Fleming et al. 2023, "Hunter: Using Change Point Detection to Hunt for Performance
//! Regressions", doi 10.1145/3578244.3583719), which Apache Otava carries on. A window slides over the series by half
//! its length; within it the e-divisive means of Matteson and James (2014) propose points, and Student's t-test, which
//! unlike permutations always says the same, accepts them at ten times the level asked for. These weak points are then
//! weeded, the weakest first, until each left is significant and great enough.
//!
//! After a removal Otava weighs the two points that follow anew, and leaves the one before as it was last weighed. So it
//! is here, since to find the same points is worth more than to find slightly fewer: weighed anew as well, 92 of the 100
//! series in `tests/otava` would have the same points instead of all. The levels told are those between the points left.

mod divisive;

use serde::Serialize;

use super::student;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Runs that are looked at together, at least 2.
    pub window: usize,
    /// How probable a point may be where nothing changed.
    pub alpha: f64,
    /// The least relative change: 0.05 is 5 %.
    pub min_magnitude: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options { window: 50, alpha: 0.001, min_magnitude: 0.0 }
    }
}

/// The series changes from the run before `index` to the run at it, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChangePoint {
    pub index: usize,
    /// Means, back to the point before and on to the point after.
    pub before: f64,
    pub after: f64,
    /// Among the neighbours that it had when it was last weighed.
    pub p_value: f64,
}

impl ChangePoint {
    /// The relative change, from the lesser of the two levels.
    pub fn magnitude(&self) -> f64 {
        let relative = |from: f64, to: f64| if from == 0.0 { 0.0 } else { (to / from - 1.0).abs() };
        relative(self.before, self.after).max(relative(self.after, self.before))
    }
}

pub fn find(series: &[f64], options: Options) -> Vec<ChangePoint> {
    let weak = weak_points(series, options.window.max(2), first_alpha(options.alpha));
    weed(series, weak, options)
}

/// The proposals are accepted more lightly, since a neighbour that is weeded later can make a point stronger.
fn first_alpha(alpha: f64) -> f64 {
    match alpha {
        alpha if alpha < 0.05 => alpha * 10.0,
        alpha if alpha < 0.5 => alpha * 2.0,
        alpha => alpha,
    }
}

/// Of all windows, in order. The next window begins at the last point of this one, or half a window on.
fn weak_points(series: &[f64], window: usize, alpha: f64) -> Vec<usize> {
    let mut points = Vec::new();
    let mut start = 0;
    while start < series.len() {
        let end = series.len().min(start + window);
        let found = divisive::points(&series[start..end], alpha);
        let last = found.last().map_or(0, |last| start + last);
        points.extend(found.into_iter().map(|point| start + point));
        start = last.max(start + window / 2);
    }
    points.sort_unstable();
    points.dedup();
    points
}

fn weed(series: &[f64], weak: Vec<usize>, options: Options) -> Vec<ChangePoint> {
    let mut points: Vec<ChangePoint> = (0..weak.len()).map(|place| weigh(series, &weak, place)).collect();
    while let Some(removed) = weakest(&points, options) {
        points.remove(removed);
        let left: Vec<usize> = points.iter().map(|point| point.index).collect();
        for place in removed..points.len().min(removed + 2) {
            points[place] = weigh(series, &left, place);
        }
    }
    let left: Vec<usize> = points.iter().map(|point| point.index).collect();
    let levels =
        |(place, point): (usize, &ChangePoint)| ChangePoint { p_value: point.p_value, ..weigh(series, &left, place) };
    points.iter().enumerate().map(levels).collect()
}

/// The first of the least significant, or else of the smallest; none where all are good enough.
fn weakest(points: &[ChangePoint], options: Options) -> Option<usize> {
    let (place, weakest) =
        points.iter().enumerate().rev().max_by(|one, other| one.1.p_value.total_cmp(&other.1.p_value))?;
    if weakest.p_value >= options.alpha {
        return Some(place);
    }
    let (place, smallest) =
        points.iter().enumerate().min_by(|one, other| one.1.magnitude().total_cmp(&other.1.magnitude()))?;
    (smallest.magnitude() <= options.min_magnitude).then_some(place)
}

/// The point at a place, between its neighbours.
fn weigh(series: &[f64], points: &[usize], place: usize) -> ChangePoint {
    let index = points[place];
    let from = if place == 0 { 0 } else { points[place - 1] };
    let to = points.get(place + 1).copied().unwrap_or(series.len());
    let (left, right) = (&series[from..index], &series[index..to]);
    let (before, after) = (student::moments(left).0, student::moments(right).0);
    ChangePoint { index, before, after, p_value: p_value(left, right) }
}

/// Of two stretches of one spread (Student's own test). The deviations are divided by the counts, as Hunter has them.
fn p_value(left: &[f64], right: &[f64]) -> f64 {
    let (n, m) = (left.len() as f64, right.len() as f64);
    let freedom = n + m - 2.0;
    if n < 1.0 || m < 1.0 || freedom < 1.0 {
        return 1.0;
    }
    let ((left, left_deviation), (right, right_deviation)) = (student::moments(left), student::moments(right));
    let pooled = ((n - 1.0) * left_deviation.powi(2) + (m - 1.0) * right_deviation.powi(2)) / freedom;
    let t = (left - right) / (pooled * (1.0 / n + 1.0 / m)).sqrt();
    student::p_value(t, freedom).unwrap_or(1.0)
}

#[cfg(test)]
mod tests;
