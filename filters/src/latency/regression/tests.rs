use std::time::Duration;

use super::*;
use crate::windows::Count;

mod simulation;

use simulation::{Arrivals, Simulated};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn config() -> Config {
    Config::default()
}

#[tokio::test(start_paused = true)]
async fn a_planted_slow_down_has_its_class_within_a_minute() {
    for (factor, wanted) in [(1.3, Class::Minor), (1.6, Class::Moderate), (2.2, Class::Severe)] {
        for rate in [5.0, 10.0, 20.0, 50.0] {
            for seed in 0..6 {
                let mut simulated = Simulated::new(&config(), seed, Arrivals::steady(rate), 1);
                let before = simulated.run(seconds(600), 1.0);
                assert!(before.is_empty(), "{rate}/s, {seed}: {before:?}");
                let changes = simulated.run(seconds(60), factor);
                let classes: Vec<Class> = changes.iter().map(|(_, change)| change.class).collect();
                assert!(classes.contains(&wanted), "{factor} at {rate}/s with seed {seed}: {changes:?}");
                assert!(classes.iter().all(|class| *class <= wanted), "{factor} at {rate}/s: {changes:?}");
                assert!(changes.iter().all(|(_, change)| change.ratio.is_some_and(|ratio| ratio < factor * 1.2)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_calls_are_few_it_takes_longer_but_is_found() {
    for (factor, wanted, within) in [(1.3, Class::Minor, 180), (1.6, Class::Moderate, 90), (2.2, Class::Severe, 75)] {
        for seed in 0..6 {
            let mut simulated = Simulated::new(&config(), seed, Arrivals::steady(2.0), 1);
            assert!(simulated.run(seconds(900), 1.0).is_empty());
            let changes = simulated.run(seconds(within), factor);
            assert!(changes.iter().any(|(_, change)| change.class == wanted), "{factor}, {seed}: {changes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_steady_load_alarms_nobody() {
    for rate in [2.0, 7.0, 50.0] {
        for (kind, arrivals) in [Arrivals::steady(rate), Arrivals::bursty(rate)].into_iter().enumerate() {
            let mut simulated = Simulated::new(&config(), kind as u64 + 10, arrivals, 6);
            let changes = simulated.run(seconds(3600), 1.0);
            assert!(changes.is_empty(), "{rate}/s: {changes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_return_to_normal_is_told_and_what_was_slow_is_not_learned() {
    let mut simulated = Simulated::new(&config(), 3, Arrivals::steady(20.0), 1);
    simulated.run(seconds(600), 1.0);
    let usual = simulated.baseline();
    let changes = simulated.run(seconds(1800), 1.8);
    assert_eq!(changes.last().map(|(_, change)| change.class), Some(Class::Moderate), "{changes:?}");
    assert!((simulated.baseline() / usual - 1.0).abs() < 0.03, "{} of {usual}", simulated.baseline());
    let changes = simulated.run(seconds(90), 1.0);
    let last = &changes.last().unwrap().1;
    assert_eq!((last.class, last.because), (Class::Normal, Because::Faster), "{changes:?}");
    simulated.run(seconds(1200), 1.0);
    assert!((simulated.baseline() / usual - 1.0).abs() < 0.04, "{} of {usual}", simulated.baseline());
}

#[tokio::test(start_paused = true)]
async fn a_recovery_is_told_as_one_though_the_last_minutes_were_slow() {
    for (seed, factor) in (0..10).flat_map(|seed| [(seed, 1.6), (seed, 2.2)]) {
        let mut simulated = Simulated::new(&config(), seed, Arrivals::steady(20.0), 1);
        simulated.run(seconds(600), 1.0);
        simulated.run(seconds(300), factor);
        let changes = simulated.run(seconds(300), 1.0);
        // What was still rising when it ended is not meant.
        let slower = changes.iter().filter(|(at, change)| *at > 15.0 && change.because == Because::Slower).count();
        assert_eq!(slower, 0, "seed {seed}, {factor}: {changes:#?}");
        assert_eq!(simulated.class(), Class::Normal);
    }
}

#[tokio::test(start_paused = true)]
async fn what_lasts_is_the_new_normal() {
    let config = Config { adopt_after_secs: 1800, ..config() };
    let mut simulated = Simulated::new(&config, 4, Arrivals::steady(10.0), 1);
    simulated.run(seconds(600), 1.0);
    let changes = simulated.run(seconds(3600), 2.2);
    let adopted = changes.iter().filter(|(_, change)| change.because == Because::Adopted).count();
    assert_eq!(adopted, 2, "one for each measure: {changes:?}");
    assert_eq!(simulated.class(), Class::Normal);
    assert!(simulated.run(seconds(120), 2.2).is_empty(), "it is normal now");
    let worse = simulated.run(seconds(60), 2.2 * 1.6);
    assert!(worse.iter().any(|(_, change)| change.class == Class::Moderate), "against the new normal: {worse:?}");
}

#[tokio::test(start_paused = true)]
async fn the_trend_is_told_with_evidence_only() {
    let mut simulated = Simulated::new(&config(), 5, Arrivals::steady(10.0), 1);
    assert_eq!(simulated.trends(), []);
    simulated.run(seconds(120), 1.0);
    assert!(simulated.trends().iter().all(|trend| *trend == Trend::Unknown));
    simulated.run(seconds(900), 1.0);
    assert!(simulated.trends().iter().all(|trend| *trend == Trend::Stable));
    simulated.run(seconds(300), 1.25);
    assert!(simulated.trends().iter().all(|trend| *trend == Trend::Degrading), "{:?}", simulated.trends());
    simulated.run(seconds(900), 1.25);
    simulated.run(seconds(300), 1.0);
    assert!(simulated.trends().iter().all(|trend| *trend == Trend::Improving), "{:?}", simulated.trends());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_class() {
    // A call now and then shows as little as none.
    for rate in [0.0, 0.05] {
        let mut simulated = Simulated::new(&config(), 6, Arrivals::steady(10.0), 1);
        simulated.run(seconds(600), 1.0);
        simulated.run(seconds(120), 3.0);
        assert_eq!(simulated.class(), Class::Severe);
        simulated.arrivals = Arrivals::steady(rate);
        let changes = simulated.run(seconds(1300), 1.0);
        let is_silent = |change: &Change| change.because == Because::Silent && change.ratio.is_none();
        assert!(changes.iter().all(|(_, change)| is_silent(change)), "{rate}: {changes:?}");
        assert_eq!((changes.len(), simulated.class()), (2, Class::Normal), "{rate}: one for each measure");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_outlives_a_restart_and_a_broken_file_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { baseline_path: folder.path().join("baselines.json"), ..config() };
    let mut simulated = Simulated::new(&config, 7, Arrivals::steady(20.0), 1);
    simulated.run(seconds(900), 1.0);
    let now = simulated.now();
    simulated.regressions.due(now).unwrap().write().unwrap();
    assert!(simulated.regressions.due(now).is_none(), "at most once a minute");
    assert!(simulated.regressions.due(now + seconds(61)).is_some());
    let mut again = Simulated::new(&config, 8, Arrivals::steady(20.0), 1);
    assert!((again.baseline() / simulated.baseline() - 1.0).abs() < 1e-9, "it is what it was");
    let changes = again.run(seconds(60), 1.6);
    assert!(changes.iter().any(|(_, change)| change.class == Class::Moderate), "known from the start: {changes:?}");
    let broken = folder.path().join("baselines.json.broken");
    let fine = std::fs::read_to_string(&config.baseline_path).unwrap();
    for wrong in [
        "{".to_owned(),
        "[1, 2]".to_owned(),
        String::new(),
        fine.replace("\"version\":1", "\"version\":2"),
        fine.replacen("\"deviation\":", "\"deviation\":-", 1),
        " ".repeat(2 << 20),
    ] {
        std::fs::write(&config.baseline_path, &wrong).unwrap();
        let opened = Regressions::open(&config, &["b0".into()], now);
        assert!(opened.list(now).is_empty(), "{:.40}", wrong);
        assert!(!config.baseline_path.exists(), "{wrong:.40}");
        assert_eq!(std::fs::read_to_string(&broken).unwrap(), wrong, "it is kept for somebody to look at");
    }
    let elsewhere = Config { baseline_path: folder.path().into(), ..config };
    assert!(Regressions::open(&elsewhere, &[], now).list(now).is_empty(), "a folder is no file, and no crash");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_models_are_not_watched_and_push_nobody_out() {
    let now = Instant::now();
    let regressions = Regressions::open(&config(), &["b0".into()], now);
    let call = |model: String| Digest {
        calls: vec![Measured {
            backend: 0,
            model: Some(model.into()),
            streams: true,
            is_good: true,
            duration: 1.0,
            first_chunk: Some(0.1),
            per_token: None,
            per_chunk: Some(0.01),
            output: 0,
            counted: vec![(Count::All, 1)],
        }],
        ..Digest::default()
    };
    for number in 0..100_000 {
        regressions.count(now, &call(format!("m{number}")));
    }
    assert_eq!(regressions.state().pairs.len(), MOST_PAIRS);
    assert!(regressions.state().pairs.contains_key(&("b0".into(), "m0".into())));
    for number in 0..1000 {
        regressions.count(now + IDLE, &call(format!("n{number}")));
    }
    let state = regressions.state();
    assert_eq!(state.pairs.len(), MOST_PAIRS);
    assert!(state.pairs.contains_key(&("b0".into(), "n127".into())), "those that were idle made room");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_breathes_alarms_nobody() {
    let mut simulated = Simulated::new(&config(), 9, Arrivals::bursty(20.0), 3);
    for step in 0..240 {
        let factor = 1.0 + 0.08 * (f64::from(step) * std::f64::consts::TAU / 40.0).sin();
        let changes = simulated.run(seconds(15), factor);
        assert!(changes.is_empty(), "{changes:?}");
    }
}
