//! Arrivals are what their model and profile say: counts against the integrated rate, spread against theory.

use std::time::Duration;

use proptest::prelude::*;

use super::course::{Course, Curve, Segment};
use super::gaps::{Arrivals, Gaps, Shape};
use super::{Mix, Purpose, Times, random};

fn gamma(burstiness: f64) -> Arrivals {
    Arrivals::Gamma { burstiness: Shape::try_from(burstiness).unwrap() }
}

fn weibull(shape: f64) -> Arrivals {
    Arrivals::Weibull { shape: Shape::try_from(shape).unwrap() }
}

fn times(arrivals: Arrivals, course: &Course, seed: u64) -> Vec<Duration> {
    Times::new(arrivals, course, seed).unwrap().collect()
}

/// The squared coefficient of variation of the gaps, which is what the index of dispersion tends to.
fn theory(arrivals: Arrivals) -> f64 {
    let of = statrs::function::gamma::gamma;
    match arrivals {
        Arrivals::Constant => 0.0,
        Arrivals::Poisson => 1.0,
        Arrivals::Gamma { burstiness } => 1.0 / burstiness.get(),
        Arrivals::Weibull { shape } => of(1.0 + 2.0 / shape.get()) / of(1.0 + 1.0 / shape.get()).powi(2) - 1.0,
    }
}

/// Mean and index of dispersion (variance over mean) of the counts in windows of so many expected arrivals.
fn dispersion(arrivals: Arrivals, expected: f64) -> (f64, f64) {
    let windows = 4000;
    let course = Course::new(vec![Segment::level(100.0, expected / 100.0 * f64::from(windows))]);
    let mut counts = vec![0.0; 4000];
    for at in times(arrivals, &course, 7) {
        let place = (at.as_secs_f64() * 100.0 / expected).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "4000 windows")]
        let place = (place as usize).min(counts.len() - 1);
        counts[place] += 1.0;
    }
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (counts.len() - 1) as f64;
    (mean, variance / mean)
}

#[test]
fn the_counts_are_as_strewn_as_the_model_says() {
    // 4000 windows: the sample variance is within 7 % in nearly all draws, and the seed is fixed.
    for arrivals in [Arrivals::Poisson, gamma(1.0), gamma(0.25), gamma(4.0), weibull(1.0), weibull(0.6), weibull(2.0)] {
        let (mean, found) = dispersion(arrivals, 400.0);
        let expected = theory(arrivals);
        assert!((mean / 400.0 - 1.0).abs() < 0.02, "{arrivals:?}: {mean} arrivals for 400");
        assert!((found / expected - 1.0).abs() < 0.15, "{arrivals:?}: dispersion {found} for {expected}");
    }
    let (mean, found) = dispersion(Arrivals::Constant, 400.0);
    assert!((mean - 400.0).abs() < 1e-9 && found < 1e-3, "a clock's windows are alike: {mean}, {found}");
}

#[test]
fn no_burst_stands_at_the_beginning_of_every_run() {
    // The mean number in a first second of 10 expected arrivals, over many seeds. Begun with a plain gap, gamma with
    // burstiness 0.25 would have about 1.5 more: half of its squared coefficient of variation less one.
    let course = Course::new(vec![Segment::level(10.0, 1.0)]);
    for arrivals in [Arrivals::Poisson, gamma(0.25), weibull(0.6), Arrivals::Constant] {
        let runs = 20_000;
        let all: usize = (0..runs).map(|seed| times(arrivals, &course, seed).len()).sum();
        let mean = all as f64 / runs as f64;
        assert!((mean - 10.0).abs() < 0.2, "{arrivals:?}: {mean} in the mean for 10");
    }
}

#[test]
fn gaps_have_the_mean_one() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson, gamma(0.1), gamma(30.0), weibull(0.5), weibull(5.0)] {
        let (gaps, mut random) = (Gaps::new(arrivals).unwrap(), random(3, Purpose::Times));
        let draws = 200_000;
        let mean = (0..draws).map(|_| gaps.next(&mut random)).sum::<f64>() / f64::from(draws);
        let doubt = 5.0 * (theory(arrivals) / f64::from(draws)).sqrt() + 1e-12;
        assert!((mean - 1.0).abs() < doubt, "{arrivals:?}: {mean}");
    }
}

#[test]
fn a_clock_ticks_exactly() {
    let course = Course::new(vec![Segment::level(100.0, 10.0)]);
    let all = times(Arrivals::Constant, &course, 9);
    assert_eq!(all.len(), 1000, "rate times seconds");
    for (place, at) in all.iter().enumerate() {
        let expected = Duration::from_millis(10 * place as u64);
        assert!(at.abs_diff(expected) < Duration::from_micros(1), "{at:?} for {expected:?}");
    }
}

fn courses() -> impl Strategy<Value = Course> {
    let segment =
        (1.0..20.0_f64, 1.0..200.0_f64, 1.0..200.0_f64, any::<bool>()).prop_map(|(seconds, from, to, line)| Segment {
            seconds,
            from,
            to,
            curve: if line { Curve::Linear } else { Curve::Exponential },
        });
    prop::collection::vec(segment, 1..5).prop_map(Course::new)
}

fn models() -> impl Strategy<Value = Arrivals> {
    prop_oneof![
        Just(Arrivals::Constant),
        Just(Arrivals::Poisson),
        (0.1..10.0_f64).prop_map(gamma),
        (0.5..4.0_f64).prop_map(weibull)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn as_many_come_as_the_course_is_due(arrivals in models(), course in courses(), seed in any::<u64>()) {
        let (count, expected) = (times(arrivals, &course, seed).len() as f64, course.area());
        // Six standard deviations, and a little for what a finite course adds.
        let doubt = 6.0 * (theory(arrivals) * expected).sqrt() + 2.0 + 6.0 * theory(arrivals);
        prop_assert!((count - expected).abs() <= doubt, "{count} for {expected}, within {doubt}");
    }

    #[test]
    fn time_never_goes_back_and_ends_with_the_course(arrivals in models(), course in courses(), seed in any::<u64>()) {
        let all = times(arrivals, &course, seed);
        prop_assert!(all.is_sorted(), "in order");
        let last = all.last().copied().unwrap_or_default();
        prop_assert!(last.as_secs_f64() <= course.seconds() + 1e-9, "{last:?}");
    }

    #[test]
    fn a_seed_says_it_all(arrivals in models(), course in courses(), seed in any::<u64>()) {
        let all = times(arrivals, &course, seed);
        prop_assert_eq!(&all, &times(arrivals, &course, seed));
        if !matches!(arrivals, Arrivals::Constant) && all.len() > 3 {
            prop_assert_ne!(&all, &times(arrivals, &course, seed.wrapping_add(1)));
        }
    }
}

#[test]
fn under_a_ramp_each_part_has_its_share() {
    // From 0 to 200 a second in 100 s: 10,000 in all, of which the quarters have 1, 3, 5 and 7 sixteenths.
    let course = Course::new(vec![Segment::linear(0.0, 200.0, 100.0)]);
    for arrivals in [Arrivals::Constant, Arrivals::Poisson, gamma(0.25)] {
        let all = times(arrivals, &course, 11);
        for (quarter, sixteenths) in [1.0, 3.0, 5.0, 7.0].into_iter().enumerate() {
            let part = |at: &&Duration| at.as_secs() / 25 == quarter as u64;
            let (count, expected) = (all.iter().filter(part).count() as f64, 10_000.0 * sixteenths / 16.0);
            let doubt = 5.0 * (theory(arrivals) * expected).sqrt() + 1.0;
            assert!((count - expected).abs() <= doubt, "{arrivals:?}, {quarter}: {count} for {expected}");
        }
    }
}

#[test]
fn the_mix_follows_the_weights() {
    let kind = |weight: f64| toml::from_str(&format!("weight = {weight:?}")).unwrap();
    let mut mix = Mix::new(&[kind(3.0), kind(0.0), kind(1.0)], 5).unwrap();
    let mut counts = [0_u32; 3];
    (0..40_000).for_each(|_| counts[mix.draw()] += 1);
    assert!(counts[0].abs_diff(30_000) < 450, "three quarters, within five standard deviations: {counts:?}");
    assert_eq!(counts[1], 0, "what weighs nothing never comes");
    assert!(Mix::new(&[kind(0.0)], 5).is_err(), "something must come");
    assert!(Mix::new(&[], 5).is_err());
}
