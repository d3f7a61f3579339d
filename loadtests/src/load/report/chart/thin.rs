//! Fewer points than were measured, where a screen has no room for more, and no peak lost.

use super::Point;

/// At most about so many points: of each stretch the first, the lowest and the highest stay, in their order, and a
/// stretch without a value stays a gap.
pub fn thin(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil((most / 2).max(1));
    points.chunks(stretch).flat_map(extremes).collect()
}

fn extremes(points: &[Point]) -> Vec<Point> {
    let values = || points.iter().enumerate().filter_map(|(place, point)| point.y.map(|y| (place, y)));
    let lowest = values().min_by(|one, other| one.1.total_cmp(&other.1));
    let highest = values().max_by(|one, other| one.1.total_cmp(&other.1));
    match (lowest, highest) {
        (Some((low, _)), Some((high, _))) if low != high => vec![points[low.min(high)], points[low.max(high)]],
        (Some((only, _)), _) => vec![points[only]],
        _ => points.first().copied().into_iter().collect(),
    }
}
