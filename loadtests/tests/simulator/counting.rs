//! Generations are counted exactly, and a client that leaves is seen at once.

use std::time::Duration;

use http_body_util::BodyExt;
use outrigger_loadtests::integrity::{StreamCheck, Verdict};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::client::{Connection, Simulator, chat};

/// Microseconds, far above what it takes on an idle machine, far below anything that waits for a timer.
const PROMPT: u64 = 50_000;
/// Far below anything that waits for a token, and above what any machine takes.
const AT_MOST: u64 = 5_000_000;

async fn now_us(simulator: &Simulator) -> u64 {
    simulator.get("/sim/time").await.json()["now_us"].as_u64().unwrap()
}

/// Leaves while `sim` keeps the generation waiting; gives the log entry and the latency in microseconds.
async fn leave(simulator: &Simulator, mut connection: Connection, stream: bool, sim: Value) -> (Value, u64) {
    let before = simulator.stats().await["cancelled"].as_u64().unwrap();
    let body = chat(stream, sim).to_string();
    let mut client = JoinSet::new();
    client.spawn(async move {
        if let Ok(response) = connection.send("POST", "/v1/chat/completions", body).await {
            drop(response.into_body().collect().await);
        }
    });
    simulator.until("active", 1).await;
    tokio::time::sleep(Duration::from_millis(15)).await;
    let left_us = now_us(simulator).await;
    client.abort_all();
    simulator.until("cancelled", before + 1).await;
    let entry = simulator.last_entry().await;
    let latency = entry["ended_us"].as_u64().unwrap().saturating_sub(left_us);
    (entry, latency)
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_at_once() {
    let simulator = Simulator::start(&[]);
    let waits = [
        (true, json!({"gap_ms": 60_000})),
        (true, json!({"ttft_ms": 60_000})),
        (true, json!({"ttft_ms": 60_000, "late_head": true})),
        (true, json!({"fault": "stall_before"})),
        (true, json!({"fault": "stall_after", "at": 2})),
        (false, json!({"ttft_ms": 60_000})),
        (false, json!({"fault": "stall_before"})),
        (false, json!({"fault": "slow_body", "gap_ms": 60_000})),
    ];
    let mut left = 0;
    for (stream, sim) in waits {
        for http2 in [false, true] {
            let what = format!("{sim}, stream {stream}, http2 {http2}");
            let mut latencies = Vec::new();
            // On a machine that others use, one try or another is slow for reasons that are not the simulator's.
            while latencies.iter().all(|latency| *latency >= PROMPT) {
                assert!(latencies.len() < 20, "never at once: {latencies:?} us for {what}");
                let connection = if http2 { simulator.connect_http2().await } else { simulator.connect().await };
                let (entry, latency) = leave(&simulator, connection, stream, sim.clone()).await;
                assert_eq!(entry["status"], "cancelled", "{what}");
                assert!(latency < AT_MOST, "{latency} us for {what}");
                latencies.push(latency);
            }
            left += latencies.len();
        }
    }
    let stats = simulator.stats().await;
    assert_eq!((&stats["cancelled"], &stats["active"], &stats["peak_active"]), (&json!(left), &json!(0), &json!(1)));
}

#[tokio::test]
async fn a_reset_http2_stream_cancels_its_generation_alone() {
    let simulator = Simulator::start(&[]);
    let mut connection = simulator.connect_http2().await;
    let body = chat(true, json!({"gap_ms": 5000})).to_string();
    let response = connection.send("POST", "/v1/chat/completions", body).await.unwrap();
    drop(response);
    simulator.until("cancelled", 1).await;
    assert_eq!(connection.ask("GET", "/health", "").await.unwrap().status, 200, "the connection lives");
}

#[tokio::test]
async fn numbers_go_on_and_streams_do_not_mix() {
    let simulator = Simulator::start(&["--threads", "2", "--tokens", "20", "--gap-ms", "0.5"]);
    let mut connection = simulator.connect().await;
    for expected in 1..=3 {
        let body = chat(false, json!({"tokens": 2, "gap_ms": 0})).to_string();
        let json = connection.ask("POST", "/v1/chat/completions", body).await.unwrap().json();
        assert_eq!(json["choices"][0]["message"]["content"], format!("{expected}.0 {expected}.1 "), "kept alive");
    }
    simulator.ask("POST", "/sim/reset", "").await.unwrap();
    let mut streams = JoinSet::new();
    for http2 in [false, true].repeat(20) {
        let mut connection = if http2 { simulator.connect_http2().await } else { simulator.connect().await };
        streams.spawn(async move {
            let body = chat(true, json!({})).to_string();
            let answer = connection.ask("POST", "/v1/chat/completions", body).await.unwrap();
            let mut check = StreamCheck::new();
            check.feed(&answer.body);
            match check.verdict() {
                Verdict::Whole { generation, tokens: 20 } => generation,
                verdict => panic!("{verdict:?}"),
            }
        });
    }
    let mut numbers = streams.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (4..44).collect::<Vec<_>>(), "each number once; the reset keeps the numbers");
    let stats = simulator.stats().await;
    assert_eq!((&stats["finished"], &stats["requests"]), (&json!(40), &json!(40)));
    assert!(stats["connections"].as_u64().unwrap() >= 40, "connections are counted: {stats}");
}

#[tokio::test]
async fn tokens_come_when_they_are_due() {
    let simulator = Simulator::start(&[]);
    let mut connection = simulator.connect().await;
    // Times that no busy machine adds by itself.
    let body = chat(true, json!({"ttft_ms": 1500, "gap_ms": 300, "tokens": 4})).to_string();
    let start = tokio::time::Instant::now();
    let mut response = connection.send("POST", "/v1/chat/completions", body).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(1490), "the head comes at once: {:?}", start.elapsed());
    let mut check = StreamCheck::new();
    let mut arrivals = vec![];
    while let Some(frame) = response.frame().await {
        check.feed(frame.unwrap().data_ref().unwrap());
        if check.tokens() > arrivals.len() as u64 {
            arrivals.push(start.elapsed().as_millis());
        }
    }
    assert_eq!(arrivals.len(), 4, "one by one: {arrivals:?}");
    for (index, arrival) in arrivals.iter().enumerate() {
        assert!(*arrival >= 1499 + 300 * index as u128, "never early: {arrivals:?}");
    }
}

#[tokio::test]
async fn an_echo_tells_how_a_large_body_arrived() {
    let simulator = Simulator::start(&[]);
    for stream in [false, true] {
        let mut request = chat(stream, json!({"echo": true, "tokens": 1}));
        request["messages"][0]["content"] = "x".repeat(8 * 1024 * 1024).into();
        let body = request.to_string();
        let answer = simulator.ask("POST", "/v1/chat/completions", body.clone()).await.unwrap();
        let sim = match stream {
            false => answer.json()["sim"].clone(),
            true => answer.events().last().unwrap().1["sim"].clone(),
        };
        let sha256 = hex::encode(Sha256::digest(&body));
        assert_eq!((&sim["body_sha256"], &sim["body_bytes"]), (&json!(sha256), &json!(body.len())));
        assert_eq!(sim["headers"]["x-test"], "yes", "the headers are told: {}", sim["headers"]);
        assert_eq!(simulator.stats().await["last_body_sha256"], sha256);
    }
}

#[tokio::test]
async fn a_reply_is_about_as_long_as_asked() {
    let simulator = Simulator::start(&[]);
    let json = simulator.chat(false, json!({"reply_bytes": 1_000_000})).await.unwrap().json();
    let content = json["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.len().abs_diff(1_000_000) < 20, "{} bytes", content.len());
    assert_eq!(json["sim"]["sha256"], hex::encode(Sha256::digest(content)), "still numbered and hashed");
}
