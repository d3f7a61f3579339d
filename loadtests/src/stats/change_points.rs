//! Where a history changed: the points at which a series of figures, one a run, goes over to another level.
//!
//! The algorithm is that of Hunter (Fleming et al. 2023, "Hunter: Using Change Point Detection to Hunt for Performance
//! Regressions", doi 10.1145/3578244.3583719), which Apache Otava carries on. A window slides over the series by half
//! its length; within it the e-divisive means of Matteson and James (2014) propose points, and Student's t-test, which
//! unlike permutations always says the same, accepts them at ten times the level asked for. These weak points are then
//! weeded, the weakest first, until each left is significant and great enough among its neighbours.

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

fn weed(series: &[f64], mut points: Vec<usize>, options: Options) -> Vec<ChangePoint> {
    loop {
        let judged = judge(series, &points);
        let weakest = judged.iter().rev().max_by(|one, other| one.p_value.total_cmp(&other.p_value));
        let smallest = judged.iter().min_by(|one, other| one.magnitude().total_cmp(&other.magnitude()));
        let removed = match (weakest, smallest) {
            (Some(weakest), _) if weakest.p_value >= options.alpha => weakest.index,
            (_, Some(smallest)) if smallest.magnitude() <= options.min_magnitude => smallest.index,
            _ => return judged,
        };
        points.retain(|point| *point != removed);
    }
}

/// Each among its neighbours.
fn judge(series: &[f64], points: &[usize]) -> Vec<ChangePoint> {
    let neighbour = |place: usize| points.get(place).copied().unwrap_or(series.len());
    let mut from = 0;
    let mut judged = Vec::with_capacity(points.len());
    for (place, &index) in points.iter().enumerate() {
        let (left, right) = (&series[from..index], &series[index..neighbour(place + 1)]);
        let (before, after) = (student::moments(left).0, student::moments(right).0);
        judged.push(ChangePoint { index, before, after, p_value: p_value(left, right) });
        from = index;
    }
    judged
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
