//! Levels are read, judged, and missed where nothing could be measured.

use super::{Level, Measure, Statistic};
use crate::load::fault::FaultEdge;
use crate::load::result::{Counts, Distribution, FORMAT, Integrity, Machine, Mark, Metric, Process, Rates, Run, Slice};

fn level(text: &str) -> Level {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn distribution(p95: f64) -> Distribution {
    Distribution {
        count: 100,
        min: 1.0,
        mean: 2.0,
        stdev: 3.0,
        p50: 4.0,
        p90: 5.0,
        p95,
        p99: 2.0 * p95,
        p999: 3.0 * p95,
        max: 4.0 * p95,
        histogram: String::new(),
    }
}

fn run() -> Run {
    let machine = Machine { class: String::new(), cpu: String::new(), cores: 1, memory_mib: 1, kernel: String::new() };
    Run {
        format: FORMAT.to_owned(),
        name: "levels".to_owned(),
        label: None,
        target: String::new(),
        started_at: String::new(),
        tool: String::new(),
        machine,
        scenario: serde_json::Value::Null,
        planned_seconds: 20.0,
        measured_seconds: 20.0,
        cut_short: None,
        invalid: Vec::new(),
        counts: Counts { sent: 205, answered: 190, failed: 10, good: 150, ..Counts::default() },
        rates: Rates { requests: 9.5, goodput: 7.5, output_tokens: 300.0, stream_bytes: 0.0 },
        latencies: [(Metric::Ttft, distribution(500.0)), (Metric::ServiceTtft, distribution(400.0))].into(),
        errors: Default::default(),
        integrity: Integrity::default(),
        process: None,
        slices: Vec::new(),
        marks: Vec::new(),
        levels: Vec::new(),
    }
}

#[test]
fn each_bound_means_what_it_says() {
    for (text, met, value) in [
        ("p95_ttft_ms <= 500", true, 500.0),
        ("p95_ttft_ms < 500", false, 500.0),
        ("p99_ttft_ms<=999.5", false, 1000.0),
        ("p95_service_ttft_ms < 500", true, 400.0),
        ("mean_ttft_ms <= 2", true, 2.0),
        ("error_rate <= 0.05", true, 0.05),
        ("error_rate < 0.05", false, 0.05),
        ("requests_per_second >= 9.5", true, 9.5),
        ("requests_per_second > 9.5", false, 9.5),
        ("goodput >= 7", true, 7.5),
        ("good_share >= 0.8", false, 0.75),
        ("output_tokens_per_second >= 300", true, 300.0),
    ] {
        let verdict = level(text).judge(&run());
        assert_eq!((verdict.level.as_str(), verdict.met, verdict.value), (text, met, Some(value)));
    }
}

#[test]
fn what_was_not_measured_is_missed() {
    for text in ["p95_inter_token_ms <= 1e9", "resident_mib_peak <= 1e9", "recovery_secs <= 1e9"] {
        let verdict = level(text).judge(&run());
        assert_eq!((verdict.value, verdict.met), (None, false), "{text}");
    }
    let nothing = Run { counts: Counts::default(), ..run() };
    assert!(!level("error_rate <= 1").judge(&nothing).met, "no request is no proof");
}

#[test]
fn a_process_is_held_to_its_slopes() {
    let process = Process {
        pid: 1,
        cpu_seconds: 1.0,
        cpu_microseconds_per_request: 20.0,
        resident_mib_first: 10.0,
        resident_mib_last: 12.0,
        resident_mib_peak: 13.0,
        resident_mib_per_hour: 4.0,
        files_first: 3,
        files_last: 3,
        files_per_hour: -0.5,
    };
    let run = Run { process: Some(process), ..run() };
    for (text, met) in [
        ("resident_mib_per_hour <= 5", true),
        ("resident_mib_per_hour <= 3", false),
        ("files_per_hour <= 0", true),
        ("resident_mib_peak < 13", false),
        ("cpu_microseconds_per_request <= 20", true),
    ] {
        assert_eq!(level(text).judge(&run).met, met, "{text}");
    }
}

#[test]
fn what_is_no_level_is_refused_with_what_there_is() {
    for wrong in ["p95_ttft <= 5", "p94_ttft_ms <= 5", "p95_latency_ms <= 5", "errors <= 1", "<= 5"] {
        let error = wrong.parse::<Level>().unwrap_err();
        assert!(error.contains("error_rate") && error.contains("p95") && error.contains("inter_token"), "{error}");
    }
    for wrong in ["p95_ttft_ms", "p95_ttft_ms = 5", "p95_ttft_ms <= x", "error_rate <= -1", "error_rate <= NaN", ""] {
        let error = wrong.parse::<Level>().unwrap_err();
        assert!(error.contains("it reads like"), "{error}");
    }
}

#[test]
fn an_upper_limit_on_a_latency_holds_for_each_request() {
    assert_eq!(level("p95_ttft_ms <= 500").per_request(), Some((Metric::Ttft, 500.0)));
    assert_eq!(level("mean_tpot_ms < 50").per_request(), Some((Metric::Tpot, 50.0)));
    for text in ["p95_ttft_ms >= 5", "stdev_ttft_ms <= 5", "p99_schedule_lag_ms <= 10", "error_rate <= 0.05"] {
        assert_eq!(level(text).per_request(), None, "{text}");
    }
    assert_eq!(level("p999_end_to_end_ms <= 5").measure(), Measure::Latency(Statistic::P999, Metric::EndToEnd));
}

/// Slices of a second: those before second 5 are as before, the rest as told, each by p95 and failures of ten.
fn recovering(after: &[(f64, u64)]) -> Run {
    let before = [(10.0, 0), (11.0, 0), (30.0, 0), (10.0, 0), (9.0, 0)];
    let slices = before.iter().chain(after).enumerate().map(|(place, (p95, failed))| Slice {
        at_seconds: place as f64,
        seconds: 1.0,
        sent: 10,
        answered: 10 - failed,
        failed: *failed,
        end_to_end: (*failed < 10).then(|| distribution(*p95)),
        output_tokens: 0,
        in_flight: 0,
        ttft: None,
        resident_mib: None,
        open_files: None,
        cpu_share: None,
    });
    let mark = |at_seconds, prefix| Mark { at_seconds, what: format!("{prefix}simulator stalls") };
    let marks = vec![mark(5.0, FaultEdge::BEGINS), mark(7.0, FaultEdge::ENDS)];
    Run { slices: slices.collect(), marks, ..run() }
}

#[test]
fn a_recovery_lasts_until_things_are_as_they_were_and_stay_so() {
    let recovery = |after: &[(f64, u64)]| level("recovery_secs <= 2").judge(&recovering(after));
    let (good, slow, wrong, dead) = ((11.9, 0), (12.5, 0), (9.0, 1), (0.0, 10));
    let faulty = [slow, dead];
    let after = |rest: &[(f64, u64)]| recovery(&[&faulty[..], rest].concat());
    assert_eq!(after(&[good, good, good]).value, Some(0.0), "at once");
    assert_eq!(after(&[slow, good, good, good]).value, Some(1.0), "when it is no slower than 1.2 times");
    assert_eq!(after(&[dead, wrong, good, good, good]).value, Some(2.0), "when nothing fails that did not before");
    let late = after(&[good, good, slow, good, good, good]);
    assert_eq!((late.value, late.met), (Some(3.0), false), "two good slices by luck are no recovery");
    assert_eq!(after(&[slow, good]).value, Some(1.0), "as far as there are slices");
    assert_eq!(after(&[slow, wrong, dead]).value, None, "never");
}

#[test]
fn a_recovery_needs_a_before_and_an_end() {
    let whole = recovering(&[(10.0, 0); 5]);
    let judge = |run: &Run| level("recovery_secs <= 9").judge(run).value;
    assert!(judge(&whole).is_some());
    let endless = Run { marks: whole.marks[..1].to_vec(), ..whole.clone() };
    assert_eq!(judge(&endless), None, "the fault has not ended");
    let sudden =
        Run { marks: vec![Mark { at_seconds: 0.0, ..whole.marks[0].clone() }, whole.marks[1].clone()], ..whole };
    assert_eq!(judge(&sudden), None, "nothing was measured before");
    let mark = |at_seconds, what: &str| Mark { at_seconds, what: what.to_owned() };
    let marks = vec![mark(0.0, "from here on: simulator waits"), mark(5.0, "fault: kill target")];
    let killed = Run { marks, ..recovering(&[(0.0, 10), (10.0, 0), (10.0, 0)]) };
    assert_eq!(judge(&killed), Some(1.0), "from the kill on; what stays is no fault");
}
