use super::*;
use crate::load::synthetic::Builder;

/// A run whose median is about so many milliseconds, the `place`th of its history.
fn run(place: usize, median: f64) -> Run {
    let latencies: Vec<f64> = (0..200).map(|request| median * (0.8 + 0.002 * f64::from(request))).collect();
    let mut run = Builder::new("history").slice(1.0, &latencies).build().unwrap();
    run.started_at = format!("2026-01-{:02}T00:00:00Z", place + 1);
    run
}

/// Twenty runs, slower from the twelfth on.
fn slower_from_the_twelfth() -> Vec<Run> {
    let median = |place: usize| if place < 11 { 20.0 } else { 24.0 } + 0.1 * (place % 3) as f64;
    (0..20).map(|place| run(place, median(place))).collect()
}

fn changes(series: &[Series], name: &str) -> Vec<Change> {
    let series = series.iter().find(|series| series.name.ends_with(name)).unwrap();
    series.changes(Options::default()).changes
}

#[test]
fn a_folder_tells_at_which_run_and_from_what_to_what() {
    let folder = tempfile("folder");
    std::fs::create_dir_all(&folder).unwrap();
    for (place, run) in slower_from_the_twelfth().iter().enumerate() {
        // The order is that of the beginnings, not of the names.
        std::fs::write(folder.join(format!("{}.json", 40 - place)), serde_json::to_string(run).unwrap()).unwrap();
    }
    let found = changes(&read(&folder).unwrap(), "end to end p50");
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].run.as_str(), found[0].worse), ("2026-01-12T00:00:00Z 29.json", Some(true)));
    assert!((found[0].point.after / found[0].point.before - 1.2).abs() < 0.01, "from 20 to 24: {found:?}");
}

#[test]
fn lines_are_read_as_a_folder_is() {
    let file = tempfile("lines").with_extension("jsonl");
    let lines: Vec<String> = slower_from_the_twelfth().iter().map(|run| serde_json::to_string(run).unwrap()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let series = read(&file).unwrap();
    assert_eq!(changes(&series, "end to end p99").len(), 1);
    assert_eq!(changes(&series, "error rate"), [], "what is always 0 does not change");
    std::fs::write(&file, format!("{}\n{{\"format\": 3}}", lines[0])).unwrap();
    let error = format!("{:#}", read(&file).unwrap_err());
    std::fs::remove_file(&file).unwrap();
    assert!(error.contains("line 2: format: invalid type"), "{error}");
}

#[test]
fn plain_numbers_are_a_history_too() {
    let file = tempfile("plain").with_extension("json");
    std::fs::write(&file, r#"{"step": [1.0, 1.1, 1.0, 1.1, 1.0, 2.0, 2.1, 2.0, 2.1, 2.0], "flat": [1, 2, 1, 2]}"#)
        .unwrap();
    let series = read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let found = changes(&series, "step");
    assert_eq!((found.len(), found[0].point.index, found[0].worse), (1, 5, None));
    assert_eq!(changes(&series, "flat"), []);
}

#[test]
fn runs_of_two_machines_are_two_histories() {
    let mut runs: Vec<(String, Run)> = slower_from_the_twelfth().into_iter().map(|run| (String::new(), run)).collect();
    runs[11..].iter_mut().for_each(|(_, run)| run.machine.class = "slower".to_owned());
    assert!(series(&runs).iter().all(|series| series.changes(Options::default()).changes.is_empty()));
}

fn tempfile(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("outrigger-history-{}-{name}", std::process::id()))
}
