//! The load runner as its users meet it: the real binary, against the simulator itself.

#[path = "simulator/client.rs"]
#[expect(dead_code, reason = "the simulator's own tests use all of it")]
mod client;

use std::process::{Command, Output};

use serde_json::Value;

use client::Simulator;

fn bars(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outrigger-bars")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn cost_measures_each_target_and_writes_a_report() {
    let simulator = Simulator::start(&[]);
    let file = std::env::temp_dir().join(format!("outrigger-bars-{}.json", std::process::id()));
    let first = format!("first={},{}", simulator.url, simulator.process_id());
    let second = format!("second={}", simulator.url);
    let targets = ["cost", "--target", &first, "--target", &second, "--base", "first"];
    let report = ["--json", file.to_str().unwrap(), "--min-rate-ratio", "second=0.01"];
    let short = ["--rounds", "2", "--seconds", "0.2", "--warmup-seconds", "0.1", "--connections", "4"];
    let output = bars(&[&targets[..], &report, &short].concat());
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let row = |metric: &str, target: &str| {
        let rows = report["rows"].as_array().unwrap();
        rows.iter().find(|row| row["metric"] == metric && row["target"] == target).cloned()
    };
    let rounds = ["first", "second"].map(|target| row("requests/s", target).unwrap()["rounds"].clone());
    let rates: Vec<f64> =
        rounds.iter().flat_map(|rounds| rounds.as_array().unwrap()).map(|rate| rate.as_f64().unwrap()).collect();
    // How many there are is the machine's affair; the simulator has booked each, and those of the warm-up.
    let (measured, finished) = (rates.iter().sum::<f64>() * 0.2, simulator.stats().await["finished"].as_f64().unwrap());
    assert!(rates.iter().all(|rate| *rate >= 5.0) && measured < finished + 0.5, "of {finished}: {report}");
    assert_eq!(row("requests/s", "second").unwrap()["rounds"].as_array().unwrap().len(), 2, "a value each round");
    assert!(row("CPU us a request", "first").unwrap()["median"].as_f64().unwrap() > 0.1, "{report}");
    assert_eq!(row("CPU us a request", "second"), None, "without a process there is none");
    assert_eq!(row("errors", "first").unwrap()["max"], 0.0, "{report}");
}

#[test]
fn a_missed_bar_ends_with_one() {
    let simulator = Simulator::start(&[]);
    let target = format!("direct={}", simulator.url);
    let short = ["--rounds", "1", "--seconds", "0.1", "--warmup-seconds", "0", "--connections", "1"];
    let bar = ["cost", "--target", &target, "--base", "direct", "--min-rate-ratio", "direct=2"];
    let output = bars(&[&bar[..], &short].concat());
    assert_eq!(output.status.code(), Some(1), "nobody is twice as fast as itself: {}", text(&output));
    assert!(text(&output).contains("MISSED"), "{}", text(&output));
}

#[test]
fn a_herd_counts_the_generations_that_it_started() {
    let simulator = Simulator::start(&[]);
    let target = format!("direct={}", simulator.url);
    let herd = ["herd", "--target", &target, "--sim", &simulator.url, "--count", "3", "--ttft-ms", "50", "--stream"];
    let alone = bars(&[&herd[..], &["--started", "3"]].concat());
    assert!(alone.status.success(), "the simulator itself starts one for each: {}", text(&alone));
    let shared = bars(&herd);
    assert_eq!(shared.status.code(), Some(1), "three are not one: {}", text(&shared));
}

#[test]
fn an_overload_finds_the_peak_and_a_bare_server_does_not_hold_it() {
    let simulator = Simulator::start(&[]);
    let target = format!("direct={}", simulator.url);
    let short = ["--slots", "4", "--calibrate", "0.5,1", "--calibrate-seconds", "1", "--seconds", "3"];
    let quick = ["--after-seconds", "1", "--ttft-ms", "10", "--gap-ms", "10", "--patience-ms", "200"];
    let run = |bars_held: &[&str]| {
        let overload = ["overload", "--target", &target, "--sim", &simulator.url];
        bars(&[&overload[..], &short, &quick, bars_held].concat())
    };
    let held = run(&["--min-goodput-ratio", "direct=0.9"]);
    assert_eq!(held.status.code(), Some(1), "a queue without an end serves nobody in time: {}", text(&held));
    assert!(text(&held).contains("MISSED: goodput of its peak"), "{}", text(&held));
    let told = run(&[]);
    assert!(text(&told).contains("goodput/s at 4x"), "{}", text(&told));
}

#[test]
fn a_death_is_seen_by_those_who_ask_the_dead_and_by_nobody_else() {
    let (lives, dies) = (Simulator::start(&[]), Simulator::start(&[]));
    let backend = format!("dies={},{}", dies.url, dies.process_id());
    let short = ["--deaths", "1", "--before-seconds", "1", "--down-seconds", "0.5", "--up-seconds", "1.5"];
    let binary = ["--settle-seconds", "0.6", "--sim-binary", env!("CARGO_BIN_EXE_outrigger-sim")];
    let run = |target: &str, backend: &str| {
        let failover = ["failover", "--target", target, "--backend", backend, "--max-errors", "proxy=3"];
        bars(&[&failover[..], &short, &binary].concat())
    };
    let well = run(&format!("proxy={}", lives.url), &backend);
    assert!(well.status.success(), "nobody asked the dead one: {}", text(&well));
    // It came back only for that run; without a process the scenario starts one of its own.
    let ill = run(&format!("proxy={}", dies.url), &format!("dies={}", dies.url));
    assert!(text(&ill).contains("MISSED: errors in the worst death"), "{}", text(&ill));
}
