//! E-divisive means: a series is split where the two sides differ most, then each side again, while the split is
//! significant (Matteson and James 2014, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate
//! Data"), with distances to the power of 1.

use super::p_value;

/// A split of a stretch and how much its sides differ.
#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    distance: f64,
}

/// In order. The greatest split of all stretches is judged each time, and the first that is not significant is the end.
pub fn points(series: &[f64], alpha: f64) -> Vec<usize> {
    let mut bounds = vec![0, series.len()];
    while let Some((stretch, candidate)) = greatest(series, &bounds) {
        let (start, end) = (bounds[stretch], bounds[stretch + 1]);
        if p_value(&series[start..candidate.index], &series[candidate.index..end]) > alpha {
            break;
        }
        bounds.insert(stretch + 1, candidate.index);
    }
    bounds.pop();
    bounds.split_off(1.min(bounds.len()))
}

/// Of all stretches; the first where several are equal.
fn greatest(series: &[f64], bounds: &[usize]) -> Option<(usize, Candidate)> {
    let mut greatest: Option<(usize, Candidate)> = None;
    for (stretch, bound) in bounds.windows(2).enumerate() {
        let Some(candidate) = split(series, bound[0], bound[1]) else { continue };
        if greatest.is_none_or(|(_, known)| candidate.distance > known.distance) {
            greatest = Some((stretch, candidate));
        }
    }
    greatest
}

/// The best split of the stretch from `start` to `end`, whose right side may end early, so that a level that lasts only
/// a while is found too. None of fewer than two values.
fn split(series: &[f64], start: usize, end: usize) -> Option<Candidate> {
    let stretch = &series[start..end];
    // The sums of all distances within the values before a place, and within those from a place up to where we are.
    let mut left = vec![0.0; stretch.len() + 1];
    let mut right = vec![0.0; stretch.len()];
    let mut rows: Vec<Option<Candidate>> = vec![None; stretch.len()];
    for (place, value) in stretch.iter().enumerate() {
        let mut column = 0.0;
        for from in (0..place).rev() {
            column += (value - stretch[from]).abs();
            right[from] += column;
        }
        left[place + 1] = left[place] + column;
        for at in 1..=place {
            let distance = distance((at, left[at]), (place + 1 - at, right[at]), left[place + 1]);
            if rows[at].is_none_or(|known| distance > known.distance) {
                rows[at] = Some(Candidate { index: start + at, distance });
            }
        }
    }
    // Rows first, then columns: where two are equal, the earlier place is taken.
    rows.into_iter().flatten().reduce(|best, next| if next.distance > best.distance { next } else { best })
}

/// Twice the mean distance between the sides less the mean distances within each, weighted by the sizes: equation 5 of
/// the paper. Each side is its size and the sum of the distances within it; `all` is that sum over both.
fn distance((n, left): (usize, f64), (m, right): (usize, f64), all: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let between = all - left - right;
    let within = |size: f64, other: f64, sum: f64| if size > 1.0 { other * sum / (size - 1.0) } else { 0.0 };
    2.0 / (n + m) * (between - within(n, m, left) - within(m, n, right))
}
