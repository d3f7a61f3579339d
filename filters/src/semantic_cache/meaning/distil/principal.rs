//! Principal components: the directions in which the vectors differ most.

/// How often all pairs of rows are turned. Six are enough for the digits that a byte holds.
const SWEEPS: usize = 8;

/// The vectors along their `keep` principal components, about their mean.
pub fn components(vectors: &[Vec<f32>], keep: usize) -> Vec<Vec<f32>> {
    let size = vectors.first().map_or(0, Vec::len);
    let mean: Vec<f64> = (0..size)
        .map(|at| vectors.iter().map(|vector| f64::from(vector[at])).sum::<f64>() / vectors.len() as f64)
        .collect();
    let mut spread = vec![vec![0.0; size]; size];
    let mut centred = vec![0.0; size];
    for vector in vectors {
        centred.iter_mut().zip(vector).zip(&mean).for_each(|((to, from), mean)| *to = f64::from(*from) - mean);
        for row in 0..size {
            let factor = centred[row];
            spread[row][row..].iter_mut().zip(&centred[row..]).for_each(|(to, other)| *to += factor * other);
        }
    }
    for row in 1..size {
        let (above, here) = spread.split_at_mut(row);
        here[0].iter_mut().zip(above).for_each(|(to, above)| *to = above[row]);
    }
    let axes = axes(spread);
    let along = |vector: &Vec<f32>, axis: &Vec<f64>| -> f32 {
        axis.iter().zip(vector).zip(&mean).map(|((axis, number), mean)| axis * (f64::from(*number) - mean)).sum::<f64>()
            as f32
    };
    vectors.iter().map(|vector| axes.iter().take(keep).map(|axis| along(vector, axis)).collect()).collect()
}

/// The eigenvectors of a symmetric matrix, that of the largest eigenvalue first: Jacobi's rotations.
fn axes(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let size = matrix.len();
    let mut axes: Vec<Vec<f64>> =
        (0..size).map(|row| (0..size).map(|column| f64::from(u8::from(row == column))).collect()).collect();
    for _ in 0..SWEEPS {
        for first in 0..size {
            for second in first + 1..size {
                let off = matrix[first][second];
                if off.abs() < 1e-12 {
                    continue;
                }
                let angle = 0.5 * (2.0 * off).atan2(matrix[second][second] - matrix[first][first]);
                let (sine, cosine) = angle.sin_cos();
                turn(&mut matrix, first, second, sine, cosine);
                for row in &mut matrix {
                    let (left, right) = (row[first], row[second]);
                    row[first] = cosine * left - sine * right;
                    row[second] = sine * left + cosine * right;
                }
                turn(&mut axes, first, second, sine, cosine);
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|left, right| matrix[*right][*right].total_cmp(&matrix[*left][*left]));
    order.into_iter().map(|row| std::mem::take(&mut axes[row])).collect()
}

/// Turns two rows against each other.
fn turn(rows: &mut [Vec<f64>], first: usize, second: usize, sine: f64, cosine: f64) {
    let (before, behind) = rows.split_at_mut(second);
    for (left, right) in before[first].iter_mut().zip(&mut behind[0]) {
        (*left, *right) = (cosine * *left - sine * *right, sine * *left + cosine * *right);
    }
}
