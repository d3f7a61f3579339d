use super::*;

/// A fixed, uneven noise of at most `size` to either side.
fn noise(place: usize, size: f64) -> f64 {
    let step = (place as f64 * 0.754_877_666).fract();
    (2.0 * step - 1.0) * size
}

fn levels(levels: &[(f64, usize)]) -> Vec<f64> {
    let flat = levels.iter().flat_map(|(level, count)| std::iter::repeat_n(*level, *count));
    flat.enumerate().map(|(place, level)| level + noise(place, 2.0)).collect()
}

fn found(series: &[f64]) -> Vec<usize> {
    find(series, Options::default()).into_iter().map(|point| point.index).collect()
}

#[test]
fn a_step_is_found_where_it_is() {
    let points = find(&levels(&[(100.0, 30), (110.0, 30)]), Options::default());
    assert_eq!(points.len(), 1, "{points:?}");
    let point = points[0];
    assert_eq!(point.index, 30, "the first run of the new level");
    assert!((point.before - 100.0).abs() < 1.0 && (point.after - 110.0).abs() < 1.0, "from what to what: {point:?}");
    assert!((point.magnitude() - 0.1).abs() < 0.02, "{}", point.magnitude());
}

#[test]
fn several_levels_are_found_beyond_one_window() {
    assert_eq!(found(&levels(&[(100.0, 40), (110.0, 45), (95.0, 50), (100.0, 40)])), [40, 85, 135]);
}

#[test]
fn noise_and_a_lone_outlier_are_no_change() {
    assert_eq!(found(&levels(&[(100.0, 200)])), [] as [usize; 0]);
    let mut spiked = levels(&[(100.0, 80)]);
    spiked[37] = 140.0;
    assert_eq!(found(&spiked), [] as [usize; 0], "one run is no level");
}

#[test]
fn a_change_that_is_too_small_to_matter_is_left_out() {
    let series = levels(&[(100.0, 30), (104.0, 30)]);
    assert_eq!(found(&series), [30]);
    let least = Options { min_magnitude: 0.05, ..Options::default() };
    assert_eq!(find(&series, least), []);
}

#[test]
fn what_has_no_history_has_no_change() {
    for series in [&[][..], &[1.0], &[1.0, 2.0], &[5.0; 70]] {
        assert_eq!(found(series), [] as [usize; 0], "{series:?}");
    }
    let flat: Vec<f64> = [[3.0; 10], [4.0; 10]].concat();
    assert_eq!(found(&flat), [10], "levels that do not vary at all");
}
