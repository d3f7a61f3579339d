use super::*;
use crate::load::compare::{Options, Verdict, compare};
use crate::load::synthetic::{Builder, Part};

/// Forty slices of 250 latencies around 20 ms, spread unevenly but always the same way.
fn run(day: u32, factor: f64) -> Run {
    let mut builder = Builder::new("kept");
    for slice in 0..40 {
        let latency = |request: u32| {
            let step = (f64::from(request + 977 * (slice + 40 * day)) * 0.618_033_988_75).fract();
            factor * 20.0 * (0.6 * (step - 0.5)).exp()
        };
        let latencies: Vec<f64> = (0..250).map(latency).collect();
        builder = builder.part(Part {
            seconds: 1.0,
            latencies: [(crate::load::result::Metric::EndToEnd, latencies)].into(),
            cpu_share: Some(0.25),
            ..Part::default()
        });
    }
    let mut run = builder.build().unwrap();
    run.started_at = format!("2026-01-{day:02}T00:00:00Z");
    run
}

fn filled(keep: usize) -> Baseline {
    let mut baseline = Baseline::new("synthetic-2c-4g-linux");
    for day in [3, 1, 2, 4] {
        baseline.add(&run(day, 1.0), keep).unwrap();
    }
    baseline
}

#[test]
fn a_thin_run_has_all_that_was_counted() {
    let whole = run(1, 1.0);
    let thin = thin(&whole).unwrap();
    assert_eq!(thin.slices.len(), 10, "four seconds each, a dozen at most");
    assert_eq!((thin.slices[3].at_seconds, thin.slices[3].seconds, thin.slices[3].answered), (12.0, 4.0, 1000));
    assert_eq!(thin.slices.iter().map(|slice| slice.end_to_end.as_ref().unwrap().count).sum::<u64>(), 10_000);
    assert_eq!(thin.slices[0].cpu_share, Some(0.25));
    let comparison = compare(&whole, &thin, &Options::default()).unwrap();
    assert_eq!(comparison.verdict, Verdict::Stable, "{comparison}");
    let size = serde_json::to_string(&thin).unwrap().len();
    assert!(size < 40_000, "small enough for a repository: {size} bytes");
}

#[test]
fn the_latest_runs_stay_in_order() {
    let days = |baseline: &Baseline| -> Vec<String> {
        baseline.runs.iter().map(|run| run.started_at[8..10].to_owned()).collect()
    };
    assert_eq!(days(&filled(10)), ["01", "02", "03", "04"]);
    assert_eq!(days(&filled(2)), ["03", "04"]);
}

#[test]
fn a_result_is_held_against_all_runs_of_its_scenario() {
    let before = filled(10).merged("kept").unwrap().unwrap();
    let verdict = |factor| compare(&before, &run(9, factor), &Options::default()).unwrap().verdict;
    assert_eq!((verdict(1.0), verdict(1.1), verdict(0.9)), (Verdict::Stable, Verdict::Degrading, Verdict::Improving));
    assert!(filled(10).merged("another").unwrap().is_none(), "nothing is known of it");
}

#[test]
fn what_is_no_measure_is_not_kept() {
    let mut baseline = Baseline::new("synthetic-2c-4g-linux");
    let mut bad = run(1, 1.0);
    bad.invalid.push("the schedule was late".to_owned());
    assert!(baseline.add(&bad, 5).unwrap_err().to_string().contains("the schedule was late"));
    let mut other = run(1, 1.0);
    other.machine.class = "another".to_owned();
    assert!(baseline.add(&other, 5).is_err(), "another machine's");
    assert!(baseline.runs.is_empty());
}

#[test]
fn a_baseline_comes_back_as_it_was() {
    let folder = std::env::temp_dir().join(format!("outrigger-baseline-{}", std::process::id()));
    assert!(Baseline::read(&folder, "synthetic-2c-4g-linux").unwrap().is_none(), "there is none yet");
    let kept = filled(10);
    kept.write(&folder).unwrap();
    let read = Baseline::read(&folder, "synthetic-2c-4g-linux").unwrap().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let held = |baseline: Baseline| -> Vec<_> {
        let run =
            |run: Run| (run.started_at, run.counts, run.latencies.into_values().map(|known| known.histogram).collect());
        baseline.runs.into_iter().map(run).collect::<Vec<(String, _, Vec<String>)>>()
    };
    assert_eq!(held(read), held(kept));
}
