use super::*;

const ERROR: f64 = RELATIVE_ERROR + 1e-6;

/// A quantile is right if it is within the error of one of the two values that it lies between.
fn is_quantile(found: f64, sorted: &[f64], quantile: f64) -> bool {
    let place = quantile * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    found >= low * (1.0 - ERROR) - SHORTEST_SECONDS && found <= high * (1.0 + ERROR) + SHORTEST_SECONDS
}

fn check(windows: &Windows, now: Instant, window: Window, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let Some(summary) = windows.summary(now, window) else {
        assert!(values.is_empty(), "{} values in {window:?}, and none were found", values.len());
        return;
    };
    assert_eq!(summary.count, values.len() as u64, "{window:?}");
    let found = [(0.5, summary.p50), (0.9, summary.p90), (0.95, summary.p95), (0.99, summary.p99)];
    for (quantile, found) in found {
        assert!(is_quantile(found, values, quantile), "{window:?}: {quantile} is {found}");
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((summary.mean - mean).abs() <= mean * 1e-6, "{} against {mean}", summary.mean);
    assert!((summary.max - values[values.len() - 1]).abs() <= summary.max * 1e-6);
}

#[tokio::test(start_paused = true)]
async fn a_window_says_what_a_sort_of_the_same_values_says() {
    let begun = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let mut windows = Windows::since(begun);
        let mut kept: Vec<(Duration, f64)> = Vec::new();
        let mut at = Duration::ZERO;
        for _ in 0..random.usize(1..3000) {
            // Now and then nothing happens for longer than a slot, or than all of them.
            let gap = if random.u8(..) == 0 { random.u64(0..1_200_000) } else { random.u64(0..300) };
            at += Duration::from_millis(gap);
            let value = (random.f64() * 16.0 - 12.0).exp();
            windows.record(begun + at, value);
            kept.push((at, value));
        }
        at += Duration::from_millis(random.u64(0..90_000));
        for window in Window::ALL {
            let width = if window == Window::One { 10 } else { 60 };
            let oldest = (at.as_secs() / width + 1).saturating_sub(window.slots() as u64);
            let within = kept.iter().filter(|(then, _)| then.as_secs() / width >= oldest);
            let mut within: Vec<f64> = within.map(|(_, value)| *value).collect();
            check(&windows, begun + at, window, &mut within);
        }
        assert!(windows.bytes() < 200_000, "round {round}: {} bytes", windows.bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_edge_of_a_slot_the_oldest_is_forgotten_and_no_other() {
    let begun = Instant::now();
    let mut windows = Windows::since(begun);
    for second in 0..60 {
        windows.record(begun + Duration::from_secs(second), 1.0);
    }
    let count = |millis| windows.summary(begun + Duration::from_millis(millis), Window::One).map(|found| found.count);
    assert_eq!(count(59_999), Some(60));
    assert_eq!(count(60_000), Some(50), "the first ten seconds are out");
    assert_eq!(count(109_999), Some(10));
    assert_eq!(count(110_000), None);
    let five = |secs| windows.summary(begun + Duration::from_secs(secs), Window::Five).map(|found| found.count);
    assert_eq!((five(299), five(300)), (Some(60), None), "the long slots are whole minutes");
}

#[tokio::test(start_paused = true)]
async fn rates_hold_from_when_it_was_listened_and_over_the_time_that_is_covered() {
    let begun = Instant::now();
    let (mut heard, mut counts) = (Windows::since(begun), Counts::since(begun));
    for tenth in 0..1000 {
        let now = begun + Duration::from_millis(tenth * 100);
        heard.record(now, 0.1);
        counts.add(now, &[(Count::All, 1), (Count::TokensOut, 20)]);
    }
    let now = begun + Duration::from_secs(100);
    for window in Window::ALL {
        let rate = heard.summary(now, window).unwrap().per_second;
        assert!((rate - 10.0).abs() < 0.2, "{window:?}: {rate}");
        let sums = counts.sums(now, window);
        assert!((sums.per_second(Count::TokensOut) - 200.0).abs() < 4.0, "{window:?}");
    }
    let mut late = Windows::since(begun);
    late.record(now, 1.0);
    let rate = late.summary(now, Window::Fifteen).unwrap().per_second;
    assert!((rate - 0.01).abs() < 0.001, "one in a hundred seconds, not one at once: {rate}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_time_breaks_nothing() {
    let begun = Instant::now();
    let mut windows = Windows::default();
    assert_eq!(windows.summary(begun, Window::One), None);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        windows.record(begun, value);
    }
    assert_eq!(windows.summary(begun, Window::One), None, "no number, no value");
    for _ in 0..100 {
        windows.record(begun, -1.0);
        windows.record(begun, 1e300);
    }
    // A clock that stands a little behind.
    windows.record(begun - Duration::from_millis(5), 0.5);
    let summary = windows.summary(begun, Window::One).unwrap();
    assert_eq!((summary.count, summary.max), (201, LONGEST_SECONDS));
}

#[tokio::test(start_paused = true)]
async fn shares_of_nothing_are_none() {
    let now = Instant::now();
    let mut counts = Counts::default();
    assert_eq!(counts.sums(now, Window::One).error_share(), None);
    counts.add(now, &[(Count::All, 3), (Count::Good, 1), (Count::ClientErrors, 1), (Count::Timeouts, 1)]);
    assert_eq!(counts.sums(now, Window::One).error_share(), Some(0.5), "the client's own fault counts on no side");
    assert_eq!(counts.sums(now, Window::One).cache_hit_share(), None);
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let mut random = fastrand::Rng::with_seed(1);
        for rate in [0.1, 1.0, 10.0, 100.0] {
            let mut windows = Windows::since(begun);
            for step in 0..(900.0 * rate) as u64 {
                let sum: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
                windows.record(begun + Duration::from_secs_f64(step as f64 / rate), 0.3 * (0.5 * sum).exp());
            }
            println!("{rate} a second for 15 minutes: {} bytes a series", windows.bytes());
        }
    });
}
