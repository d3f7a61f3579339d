//! The weights of the decision, by logistic regression.

use outrigger_filters::semantic_cache::meaning::decide::{Features, NAMES};

pub struct Sample {
    pub features: Features,
    pub wrong: bool,
}

const TERMS: usize = NAMES.len() + 1;
const ROUNDS: usize = 30;
/// How much large weights cost.
const RIDGE: f64 = 1.0;

/// Newton's method, which needs a handful of rounds. The bias stands last.
pub fn fit(samples: &[Sample]) -> [f64; TERMS] {
    let mut weights = [0.0; TERMS];
    for _ in 0..ROUNDS {
        let mut slope = [0.0; TERMS];
        let mut curve = [[0.0; TERMS]; TERMS];
        for sample in samples {
            let terms = terms(&sample.features);
            let sum: f64 = terms.iter().zip(&weights).map(|(term, weight)| term * weight).sum();
            let chance = 1.0 / (1.0 + (-sum).exp());
            let error = f64::from(u8::from(sample.wrong)) - chance;
            for (row, term) in terms.iter().enumerate() {
                slope[row] += error * term;
                for (column, other) in terms.iter().enumerate() {
                    curve[row][column] += chance * (1.0 - chance) * term * other;
                }
            }
        }
        for row in 0..NAMES.len() {
            slope[row] -= RIDGE * weights[row];
            curve[row][row] += RIDGE;
        }
        let step = solve(curve, slope);
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight += step);
    }
    weights
}

fn terms(features: &Features) -> [f64; TERMS] {
    let mut terms = [1.0; TERMS];
    terms.iter_mut().zip(features).for_each(|(term, feature)| *term = f64::from(*feature));
    terms
}

/// Gauss's elimination, with the largest element first.
fn solve(mut matrix: [[f64; TERMS]; TERMS], mut right: [f64; TERMS]) -> [f64; TERMS] {
    for column in 0..TERMS {
        let largest = (column..TERMS).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()));
        let pivot = largest.unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let divisor = if matrix[column][column].abs() < 1e-12 { 1e-12 } else { matrix[column][column] };
        let (by, from) = (matrix[column], right[column]);
        for (row, numbers) in matrix.iter_mut().enumerate().filter(|(row, _)| *row != column) {
            let factor = numbers[column] / divisor;
            numbers.iter_mut().zip(by).for_each(|(number, by)| *number -= factor * by);
            right[row] -= factor * from;
        }
    }
    std::array::from_fn(|row| right[row] / if matrix[row][row].abs() < 1e-12 { 1e-12 } else { matrix[row][row] })
}

/// The source of `decide/weights.rs`.
pub fn source(weights: &[f64; TERMS]) -> String {
    let lines: String =
        NAMES.iter().zip(weights).map(|(name, weight)| format!("    {weight:.5}, // {name}\n")).collect();
    let bias = weights[NAMES.len()];
    format!(
        "//! Made by `make calibrate-cache` from the training texts; not written by hand.\n\nuse super::features::Features;\n\n\
         pub const BIAS: f32 = {bias:.5};\npub const WEIGHTS: Features = [\n{lines}];\n"
    )
}
