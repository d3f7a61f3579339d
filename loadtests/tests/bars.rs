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
