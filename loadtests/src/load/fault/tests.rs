//! A script says what it means, and what it means is done.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Action, FaultAction, FaultEdge, Line, Victim};
use crate::load::scenario::Scenario;
use crate::sim::{Options, Server};
use crate::wire::connection::Connection;

fn line(text: &str) -> Result<Line, String> {
    text.to_owned().try_into()
}

fn scenario(keys: &str, tables: &str) -> Scenario {
    let text = format!(
        "name = \"faults\"\nwarmup_secs = 2\n{keys}\n[target]\nurl = \"http://127.0.0.1:1\"\n{tables}\n[load]\n\
         model = \"constant\"\nrate = 1\nduration_secs = 60\n[[requests]]\nweight = 1\n"
    );
    Scenario::parse(&text, Path::new("faults.toml")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_sentence_is_understood() {
    for (text, expected) in [
        ("at 10s: simulator stalls for 5s", json!({"fault": "stall_before"})),
        ("at 10s: simulator stalls after 3 tokens for 5s", json!({"fault": "stall_after", "at": 3})),
        ("at 10s: simulator answers 503 for 5s", json!({"status": 503})),
        ("at 10s: simulator answers 429 with retry-after 2 for 5s", json!({"status": 429, "retry_after": "2"})),
        ("at 10s: simulator cuts connections for 5s", json!({"fault": "cut_before"})),
        ("at 10s: simulator cuts streams after 1 token for 5s", json!({"fault": "cut", "at": 1})),
        ("at 10s: simulator waits 1500ms before the first token for 5s", json!({"ttft_ms": 1500.0})),
        ("at 10s: simulator waits 20ms between tokens for 5s", json!({"gap_ms": 20.0})),
    ] {
        let line = line(text).unwrap();
        let FaultAction::Simulator(fields) = &line.fault().action else { panic!("{text}") };
        assert_eq!(Value::Object(fields.clone()), expected, "{text}");
        let times = (line.fault().at, line.fault().until);
        assert_eq!(times, (Duration::from_secs(10), Some(Duration::from_secs(15))), "{text}");
        assert_eq!(String::from(line), text, "kept as it was written");
    }
    let stop = line("at 1m30s: stop target for 500ms").unwrap();
    assert_eq!(stop.fault().action, FaultAction::Stop(Victim::Target));
    assert_eq!(stop.fault().until, Some(Duration::from_millis(90_500)));
    let kill = line("at 1s: kill pid 77").unwrap();
    assert_eq!((&kill.fault().action, kill.fault().until), (&FaultAction::Kill(Victim::Pid(77)), None));
}

#[test]
fn what_is_no_sentence_is_refused_with_those_there_are() {
    for wrong in [
        "simulator stalls for 5s",
        "at 10s simulator stalls",
        "at ten: simulator stalls",
        "at -1s: simulator stalls",
        "at 10: simulator stalls",
        "at 10s: simulator sleeps",
        "at 10s: simulator stalls for 0s",
        "at 10s: simulator stalls for",
        "at 10s: simulator answers 99",
        "at 10s: simulator cuts streams after some tokens",
        "at 10s: stop pid 1",
        "at 10s: stop pid -1",
        "at 10s: kill target for 3s",
        "at 10s: ",
    ] {
        let error = line(wrong).expect_err(wrong);
        assert!(error.contains(wrong) && error.contains("`simulator cuts connections`"), "{error}");
    }
}

fn configurations(edges: &[FaultEdge]) -> Vec<(u64, Value)> {
    let configuration = |edge: &FaultEdge| match &edge.action {
        Action::Configure { configuration, .. } => configuration.clone(),
        Action::Signal { .. } => panic!("{edge:?}"),
    };
    edges.iter().map(|edge| (edge.at.as_secs(), configuration(edge))).collect()
}

#[test]
fn faults_that_overlap_leave_each_other_alone() {
    let tables = "[simulator]\nurl = \"http://127.0.0.1:9\"\n[[faults]]\nat_secs = 12\nfor_secs = 3\n\
                  do = { status = 503 }";
    let script = "script = [\"at 0s: simulator waits 50ms before the first token\", \
                  \"at 10s: simulator stalls for 5s\", \"at 15s: simulator cuts connections for 1s\"]";
    let scenario = scenario(script, tables);
    let edges = scenario.fault_edges().unwrap();
    let slow = json!({"ttft_ms": 50.0});
    let with = |fields: Value| {
        let mut all = slow.clone();
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    let found = configurations(&edges);
    assert_eq!(
        found,
        [
            (2, slow.clone()),
            (12, with(json!({"fault": "stall_before"}))),
            (14, with(json!({"fault": "stall_before", "status": 503}))),
            (17, with(json!({"status": 503}))),
            (17, slow.clone()),
            (17, with(json!({"fault": "cut_before"}))),
            (18, slow),
        ],
        "after the warm-up, and what ends makes way"
    );
    assert_eq!(edges[0].what, "from here on: simulator waits 50ms before the first token");
    assert_eq!(edges[1].what, "fault begins: simulator stalls");
    assert_eq!(edges[3].what, "fault ends: simulator stalls");
    let restored = configurations(&scenario.fault_restoration().unwrap());
    assert_eq!(restored, [(0, json!({}))], "reset once");
}

#[test]
fn what_a_fault_needs_is_told_before_the_load() {
    let error = |keys| format!("{:#}", scenario(keys, "").fault_edges().unwrap_err());
    assert!(error("script = [\"at 1s: simulator stalls\"]").contains("simulator.url"));
    assert!(error("script = [\"at 1s: stop target for 1s\"]").contains("target.pid"));
    let mut scenario = scenario("script = [\"at 1s: stop target for 1s\"]", "");
    scenario.target.pid = Some(1);
    assert!(scenario.fault_edges().is_err(), "the first process is nobody's to stop");
}

#[tokio::test]
async fn the_simulator_does_as_it_is_told_until_the_fault_is_over() {
    let server = Server::bind(&Options::parse_from(["outrigger-sim", "--listen", "127.0.0.1:0"])).unwrap();
    let url = server.url().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(server.serve());
    let scenario =
        scenario("script = [\"at 1s: simulator answers 503 for 1s\"]", &format!("[simulator]\nurl = \"{url}\""));
    let edges = scenario.fault_edges().unwrap();
    let mut connection = Connection::open(crate::wire::target::address(&url).unwrap()).await.unwrap();
    let mut status = async || {
        let body = r#"{"model":"sim","messages":[{"role":"user","content":"hello"}]}"#;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: simulator\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        connection.exchange(request.as_bytes(), &mut Vec::new()).await.unwrap().0
    };
    assert_eq!(status().await, 200, "before");
    edges[0].perform().await.unwrap();
    assert_eq!(status().await, 503, "while it lasts");
    edges[1].perform().await.unwrap();
    assert_eq!(status().await, 200, "after");
    edges[0].perform().await.unwrap();
    for edge in scenario.fault_restoration().unwrap() {
        edge.perform().await.unwrap();
    }
    assert_eq!(status().await, 200, "however the load ended");
}

#[tokio::test]
async fn a_simulator_that_is_not_there_is_told() {
    let scenario = scenario("script = [\"at 1s: simulator stalls\"]", "[simulator]\nurl = \"http://127.0.0.1:1\"");
    let error = format!("{:#}", scenario.fault_edges().unwrap()[0].perform().await.unwrap_err());
    assert!(error.starts_with("from here on: simulator stalls: the simulator cannot be reached"), "{error}");
}

/// The letter of a process's state, as the kernel tells it.
fn state(pid: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

async fn comes_to(pid: u32, expected: char) -> bool {
    // A minute: a busy machine may be late with it.
    for _ in 0..6_000 {
        if state(pid) == Some(expected) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_process_is_stopped_continued_and_killed() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id();
    let script = format!("script = [\"at 1s: stop target for 1s\", \"at 3s: kill pid {pid}\"]");
    let mut scenario = scenario(&script, "");
    scenario.target.pid = Some(pid);
    let edges = scenario.fault_edges().unwrap();
    let kill = format!("fault: kill pid {pid}");
    let words: Vec<&str> = edges.iter().map(|edge| edge.what.as_str()).collect();
    assert_eq!(words, ["fault begins: stop target", "fault ends: stop target", &kill]);
    for (edge, letter) in edges.iter().zip(['T', 'S', 'Z']) {
        edge.perform().await.unwrap();
        assert!(comes_to(pid, letter).await, "{}: {letter}, and is {:?}", edge.what, state(pid));
    }
    child.wait().unwrap();
    assert!(edges[0].perform().await.is_err(), "a process that is gone is told");
}
