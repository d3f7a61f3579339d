//! What the pointer is told over a chart: each line's value at the nearest place, in words, once for both pictures.

use serde::Serialize;

use super::{Chart, Line, Point};

/// More places than this no finger tells apart, and the file would grow by them.
const MOST_PLACES: usize = 240;

#[derive(Serialize)]
struct Hover {
    /// From 0 at the plot's left end to 1 at its right.
    places: Vec<f64>,
    names: Vec<String>,
    lines: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    name: String,
    colour: usize,
    values: Vec<Option<String>>,
}

/// JSON for the page's script; none where there is nothing to tell.
pub fn data(chart: &Chart) -> Option<String> {
    let grid = chart.lines.iter().max_by_key(|line| line.points.len()).filter(|_| !chart.is_empty())?;
    let stride = grid.points.len().div_ceil(MOST_PLACES).max(1);
    let places: Vec<f64> = grid.points.iter().step_by(stride).map(|point| point.x).collect();
    let told = |line: &Line| Told {
        name: line.name.clone(),
        colour: line.colour % super::COLOURS,
        values: places.iter().map(|x| nearest(line, *x).and_then(|point| point.y).map(|y| chart.y.words(y))).collect(),
    };
    let hover = Hover {
        places: places.iter().map(|x| (chart.x.place(*x) * 1e4).round() / 1e4).collect(),
        names: places.iter().map(|x| chart.x.words(*x)).collect(),
        lines: chart.lines.iter().filter(|line| line.has_values()).map(told).collect(),
    };
    serde_json::to_string(&hover).ok()
}

/// The point of a line nearest to a place, unless the line has ended before it or has yet to begin.
fn nearest(line: &Line, x: f64) -> Option<Point> {
    let (first, last) = line.points.first().zip(line.points.last())?;
    let step = (last.x - first.x) / (line.points.len().max(2) - 1) as f64;
    let after = line.points.partition_point(|point| point.x < x);
    let around = [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|place| line.points.get(place));
    let nearest = around.min_by(|one, other| (one.x - x).abs().total_cmp(&(other.x - x).abs()))?;
    ((nearest.x - x).abs() <= step.max(f64::EPSILON)).then_some(*nearest)
}
