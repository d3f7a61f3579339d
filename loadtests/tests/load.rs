//! The load tester as its users meet it: the real binary, against the simulator itself.

#[path = "simulator/client.rs"]
#[expect(dead_code, reason = "the simulator's own tests use all of it")]
mod client;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use client::Simulator;

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("outrigger-load-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn scenario(&self, target: &str, load: &str, rest: &str) -> String {
        let text = format!("name = \"test\"\n{rest}\n[target]\nurl = \"{target}\"\ntimeout_secs = 5\n[load]\n{load}");
        let file = self.file("scenario.toml");
        std::fs::write(&file, text + "\n[[requests]]\nstream = true\nbody_bytes = 400\noutput_tokens = 8\n").unwrap();
        file
    }

    fn result(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file("run.json")).unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const CONSTANT: &str = "model = \"constant\"\nrate = 100\nduration_secs = ";
/// Nothing in it can be late: for what is not about the schedule.
const CLOSED: &str = "model = \"closed\"\nusers = 2\nduration_secs = ";

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-load"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn load(arguments: &[&str]) -> Output {
    start(arguments).wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A machine that others use may not let the schedule be kept. Then the run must say so, and nothing else may be wrong.
fn assert_passed_or_late(output: &Output, run: &Value) {
    let invalid = run["invalid"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!invalid.is_empty())), "{}", text(output));
    assert!(run["cut_short"].is_null() && invalid.len() <= 1, "{run}");
    assert!(run["levels"].as_array().unwrap().iter().all(|level| level["met"] == true), "{}", run["levels"]);
    for why in invalid {
        let why = why.as_str().unwrap();
        assert!(why.starts_with("the schedule was not kept") && text(output).contains("INVALID"), "{}", text(output));
        assert!(run["latencies"]["schedule_lag"]["p99"].as_f64().unwrap() > 10.0, "{}", run["latencies"]);
    }
}

#[test]
fn a_run_measures_and_judges() {
    let (simulator, folder) = (Simulator::start(&[]), Folder::new("run"));
    let levels = "warmup_secs = 0.5\nlevels = [\"error_rate <= 0\", \"p99_ttft_ms <= 4000\"]";
    let scenario = folder.scenario(&simulator.url, &format!("{CONSTANT}2"), levels);
    let (json, pid) = (folder.file("run.json"), simulator.process_id().to_string());
    let output = load(&["run", &scenario, "--json", &json, "--pid", &pid, "--threads", "2"]);
    let run = folder.result();
    assert_passed_or_late(&output, &run);
    assert_eq!((&run["counts"]["sent"], &run["counts"]["output_tokens"]), (&200.into(), &1600.into()), "{run}");
    assert_eq!(run["integrity"]["whole"], 200, "every stream is checked: {}", run["integrity"]);
    assert_eq!(run["slices"].as_array().unwrap().len(), 2, "{}", run["slices"]);
    assert!(run["process"]["cpu_seconds"].as_f64().unwrap() > 0.0, "{}", run["process"]);
    assert_eq!(run["latencies"]["inter_token"]["count"], 1400, "between eight tokens are seven gaps");
}

#[test]
fn a_missed_level_ends_with_one() {
    let (simulator, folder) = (Simulator::start(&["--ttft-ms", "50"]), Folder::new("level"));
    for (limit, code) in [(4000, 0), (20, 1)] {
        let level = format!("levels = [\"p50_ttft_ms <= {limit}\"]");
        let scenario = folder.scenario(&simulator.url, &format!("{CLOSED}0.5"), &level);
        let output = load(&["run", &scenario]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains("p50_ttft_ms"), "the level is named: {}", text(&output));
    }
}

#[test]
fn a_target_that_is_not_there_is_told_at_once() {
    let folder = Folder::new("unreachable");
    let scenario = folder.scenario("http://127.0.0.1:9", &format!("{CONSTANT}60"), "");
    let output = load(&["run", &scenario]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("http://127.0.0.1:9 cannot be reached"), "{}", text(&output));
}

#[tokio::test]
async fn a_target_that_dies_leaves_a_partial_report() {
    let (simulator, folder) = (Simulator::start(&[]), Folder::new("dead"));
    let scenario = folder.scenario(&simulator.url, &format!("{CONSTANT}600"), "");
    let running = start(&["run", &scenario, "--json", &folder.file("run.json")]);
    simulator.until_stats("120 answers", |stats| stats["finished"].as_u64() >= Some(120)).await;
    drop(simulator);
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let run = folder.result();
    assert!(run["cut_short"].as_str().unwrap().contains("the target is gone"), "{}", run["cut_short"]);
    assert!(run["counts"]["answered"].as_u64().unwrap() > 50, "what was measured is kept: {}", run["counts"]);
    assert!(run["errors"]["connect"].as_u64().unwrap() > 100, "{}", run["errors"]);
    assert!(run["measured_seconds"].as_f64().unwrap() < 150.0, "it does not go on for ten minutes");
}

#[tokio::test]
async fn an_interrupt_leaves_a_partial_report() {
    let (simulator, folder) = (Simulator::start(&["--gap-ms", "500"]), Folder::new("interrupt"));
    let scenario = folder.scenario(&simulator.url, "model = \"closed\"\nusers = 4\nduration_secs = 60", "");
    let running = start(&["run", &scenario, "--json", &folder.file("run.json")]);
    // Each user has its first answer once it asks again, and seconds pass before it has the second.
    simulator.until("started", 8).await;
    let process = rustix::process::Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    let run = folder.result();
    assert_eq!(run["cut_short"], "interrupted");
    assert_eq!(run["counts"]["answered"], 4, "one each in time: {}", run["counts"]);
}

#[test]
fn a_bad_scenario_is_told_with_its_key() {
    let folder = Folder::new("bad");
    let scenario = folder.scenario("http://127.0.0.1:9", "model = \"constant\"\nrat = 100", "");
    let output = load(&["run", &scenario]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("rat"), "{}", text(&output));
}

#[test]
fn a_stress_ends_with_the_step_that_breaks() {
    let (simulator, folder) = (Simulator::start(&["--ttft-ms", "5"]), Folder::new("stress"));
    let load_table =
        "model = \"constant\"\nprofile = \"stress\"\nstart = 4\nfactor = 10\nstep_secs = 0.5\nmost = 10000";
    let scenario = folder.scenario(&simulator.url, load_table, "levels = [\"requests_per_second <= 60\"]");
    let output = load(&["run", &scenario, "--quiet", "--json", &folder.file("run.json")]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let run = folder.result();
    let steps: Vec<&str> = run["marks"].as_array().unwrap().iter().filter_map(|mark| mark["what"].as_str()).collect();
    assert_eq!(steps.len(), 3, "4 and 40 hold, 400 breaks, and nothing follows: {steps:?}");
    assert_eq!(run["levels"][0]["met"], false, "{}", run["levels"]);
}

#[test]
fn two_targets_take_turns() {
    // A difference that no busy machine makes by itself, over a load that cannot be late.
    let (quick, slow) = (Simulator::start(&[]), Simulator::start(&["--ttft-ms", "250"]));
    let folder = Folder::new("ab");
    let scenario = folder.scenario(&quick.url, &format!("{CLOSED}1"), "");
    let (first, second) = (format!("quick={}", quick.url), format!("slow={}", slow.url));
    let json = folder.file("run.json");
    let turns = ["--rounds", "3", "--slice-secs", "0.5", "--quiet", "--json", &json];
    let output = load(&[&["ab", &scenario, "--target", &first, "--target", &second], &turns[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let comparison = folder.result();
    let rows = comparison["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["figure"] == "p50_ttft_ms" && row["target"] == "slow").unwrap();
    assert!(row["ratio"]["low"].as_f64().unwrap() > 1.5, "250 ms are seen: {row}");
    assert_eq!(comparison["runs"][1].as_array().unwrap().len(), 3, "every turn is there");
}

#[test]
fn every_route_is_what_the_matrix_expects() {
    let (simulator, folder) = (Simulator::start(&[]), Folder::new("matrix"));
    let json = folder.file("run.json");
    let small = ["--sizes", "1024", "--concurrency", "2", "--runs", "2", "--seconds", "0.5", "--warmup-seconds", "0"];
    let output = load(&[&["matrix", "--target", &simulator.url, "--quiet", "--json", &json], &small[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let rows = folder.result()["rows"].as_array().unwrap().clone();
    let routes: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row["route"].as_str()).collect();
    assert_eq!(routes.len(), 5, "{routes:?}");
    assert!(rows.iter().all(|row| row["failed"] == 0 && row["runs"] == 2), "{rows:?}");
}
