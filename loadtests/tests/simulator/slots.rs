//! A server with so many slots: the others wait before their first token, and the metrics tell of it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::client::{Simulator, chat};

async fn metrics(simulator: &Simulator) -> String {
    let answer = simulator.get("/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn one_slot_takes_one_after_the_other() {
    let simulator = Simulator::start(&["--slots", "1"]);
    let sim = json!({"ttft_ms": 100, "gap_ms": 50, "tokens": 3});
    let start = Instant::now();
    let both = tokio::join!(simulator.chat(true, sim.clone()), simulator.chat(false, sim), async {
        simulator.until("active", 2).await;
        metrics(&simulator).await
    });
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert!(start.elapsed() >= Duration::from_millis(400), "two of 200 ms, one by one: {:?}", start.elapsed());
    for line in ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"] {
        let line = format!("vllm:{line}{{engine=\"0\",model_name=\"sim\"}} 1.0");
        assert!(both.2.contains(&line), "{line} in {}", both.2);
    }
    assert!(metrics(&simulator).await.contains("running{engine=\"0\",model_name=\"sim\"} 0.0"), "the slot is free");
}

#[tokio::test]
async fn slots_are_configured_while_it_runs() {
    let simulator = Simulator::start(&[]);
    simulator.post("/sim/config", &json!({"slots": 1})).await;
    let stuck = chat(true, json!({"fault": "stall_after"}));
    let mut connection = simulator.connect().await;
    let response = connection.send("POST", "/v1/chat/completions", stuck.to_string()).await.unwrap();
    let (second, ()) = tokio::join!(simulator.chat(false, json!({})), async {
        simulator.until("active", 2).await;
        simulator.post("/sim/config", &json!({})).await;
    });
    assert_eq!(second.unwrap().status, 200, "without a bound it need not wait");
    drop(response);
    let refused = simulator.chat(false, json!({"slots": 3})).await.unwrap();
    assert_eq!(refused.status, 400, "one request cannot set them");
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place_in_the_line_and_its_slot() {
    let simulator = Simulator::start(&["--slots", "1"]);
    let slow = || async { simulator.chat(true, json!({"ttft_ms": 60_000})).await };
    let both = async { tokio::join!(slow(), slow()) };
    assert!(tokio::time::timeout(Duration::from_millis(300), both).await.is_err());
    simulator.until("cancelled", 2).await;
    assert_eq!(simulator.chat(true, json!({})).await.unwrap().status, 200);
}
