//! Each fault does what its name says, and is booked as what it is.

use std::time::Duration;

use outrigger_loadtests::integrity::{StreamCheck, Verdict};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Broken, Simulator};

fn verdict(body: &[u8]) -> Verdict {
    let mut check = StreamCheck::new();
    check.feed(body);
    check.verdict()
}

async fn broken(simulator: &Simulator, stream: bool, sim: Value) -> Broken {
    simulator.chat(stream, sim.clone()).await.map(|answer| panic!("{sim} gave {answer:?}")).unwrap_err()
}

async fn assert_ended(simulator: &Simulator, status: &str) {
    assert_eq!(simulator.last_entry().await["status"], status);
}

#[tokio::test]
async fn a_cut_stream_has_the_tokens_before_the_cut() {
    let simulator = Simulator::start(&[]);
    for gap in [0, 1] {
        for at in [0, 1, 5] {
            let broken = broken(&simulator, true, json!({"fault": "cut", "at": at, "gap_ms": gap})).await;
            assert_eq!(verdict(&broken.body), Verdict::Truncated { tokens: at }, "cut after {at}, gap {gap}");
            assert!(broken.body.ends_with(b"\n\n"), "between events");
            assert_ended(&simulator, "failed").await;
        }
        let broken = broken(&simulator, true, json!({"fault": "cut_mid_event", "at": 2, "gap_ms": gap})).await;
        assert_eq!(verdict(&broken.body), Verdict::Truncated { tokens: 2 }, "cut in the third token");
        assert!(!broken.body.ends_with(b"\n"), "within an event: {:?}", String::from_utf8_lossy(&broken.body));
        assert_ended(&simulator, "failed").await;
    }
}

#[tokio::test]
async fn a_reply_can_be_cut_at_its_ends() {
    let simulator = Simulator::start(&[]);
    for stream in [false, true] {
        let before = broken(&simulator, stream, json!({"fault": "cut_before"})).await;
        assert!(before.head.is_none(), "no response at all");
        let head = broken(&simulator, stream, json!({"fault": "cut_head"})).await;
        assert_eq!((head.head.unwrap().0, head.body.len()), (200, 0), "a head and nothing else");
        assert_ended(&simulator, "failed").await;
    }
    let done = broken(&simulator, true, json!({"fault": "cut_before_done"})).await;
    assert_eq!(verdict(&done.body), Verdict::Truncated { tokens: 16 }, "all but [DONE]");
    assert!(String::from_utf8_lossy(&done.body).contains("\"sim\""), "the finish chunk came");
    assert_ended(&simulator, "failed").await;
    assert_eq!(simulator.stats().await["failed"], 5);
}

#[tokio::test]
async fn a_stream_can_end_well_but_wrong() {
    let simulator = Simulator::start(&[]);
    let answer = simulator.chat(true, json!({"fault": "no_done"})).await.unwrap();
    assert_eq!(verdict(&answer.body), Verdict::Truncated { tokens: 16 }, "no [DONE]");
    assert_ended(&simulator, "failed").await;
    for fault in ["bad_json", "bad_sse"] {
        // Also where the stream ends before the fault would strike.
        let answer = simulator.chat(true, json!({"fault": fault, "at": 2, "tokens": 1})).await.unwrap();
        assert!(matches!(verdict(&answer.body), Verdict::Malformed { .. }), "{fault}: {:?}", verdict(&answer.body));
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "it goes on to the end");
        assert_ended(&simulator, "finished").await;
    }
}

#[tokio::test]
async fn a_json_reply_can_be_broken() {
    let simulator = Simulator::start(&[]);
    let short = broken(&simulator, false, json!({"fault": "short_body"})).await;
    let promised: usize = short.head.unwrap().1["content-length"].to_str().unwrap().parse().unwrap();
    assert!(promised > short.body.len(), "{promised} bytes promised, {} sent", short.body.len());
    assert!(serde_json::from_slice::<Value>(&short.body).is_ok(), "what was sent is the whole document");
    let cut = broken(&simulator, false, json!({"fault": "cut"})).await;
    assert!(!cut.body.is_empty() && serde_json::from_slice::<Value>(&cut.body).is_err(), "half a document");
    assert_ended(&simulator, "failed").await;
    let bad = simulator.chat(false, json!({"fault": "bad_json"})).await.unwrap();
    assert_eq!(bad.header("content-length"), bad.body.len().to_string(), "as long as it says");
    assert!(serde_json::from_slice::<Value>(&bad.body).is_err(), "but no JSON");
    let start = Instant::now();
    let slow = simulator.chat(false, json!({"fault": "slow_body", "gap_ms": 3})).await.unwrap();
    assert_eq!(slow.json()["sim"]["tokens"], 16, "it is whole in the end");
    assert!(start.elapsed() >= Duration::from_millis(45), "sixteen pieces, 3 ms apart: {:?}", start.elapsed());
    assert_ended(&simulator, "finished").await;
}

#[tokio::test]
async fn a_stalled_reply_ends_when_the_client_leaves() {
    let simulator = Simulator::start(&[]);
    for (stream, fault, seen) in [(true, "stall_before", 0), (true, "stall_after", 3), (false, "stall_after", 16)] {
        let asked = simulator.chat(stream, json!({"fault": fault, "at": 3}));
        let sent = async {
            while simulator.stats().await["active"] == 0 || simulator.last_entry().await["tokens_sent"] != seen {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        };
        tokio::select! {
            ended = asked => panic!("{fault} never ends, and was {ended:?}"),
            () = sent => {}
        }
        simulator.until("active", 0).await;
        let entry = simulator.last_entry().await;
        assert_eq!((&entry["status"], &entry["tokens_sent"]), (&json!("cancelled"), &json!(seen)), "{fault}: {entry}");
    }
}

#[tokio::test]
async fn http2_cuts_reset_the_stream_and_spare_the_connection() {
    let simulator = Simulator::start(&[]);
    let mut connection = simulator.connect_http2().await;
    for fault in ["cut_before", "cut_head", "cut", "cut_mid_event", "cut_before_done"] {
        let body = crate::client::chat(true, json!({"fault": fault, "at": 2})).to_string();
        let broken = connection.ask("POST", "/v1/chat/completions", body).await.expect_err(fault);
        let expected = match fault {
            "cut_before" | "cut_head" => 0,
            "cut_before_done" => 16,
            _ => 2,
        };
        assert_eq!(verdict(&broken.body), Verdict::Truncated { tokens: expected }, "{fault}");
    }
    let body = crate::client::chat(false, json!({"fault": "short_body"})).to_string();
    connection.ask("POST", "/v1/chat/completions", body).await.expect_err("a short body");
    assert_eq!(connection.ask("GET", "/health", "").await.unwrap().status, 200, "the connection lives");
    assert_eq!(simulator.stats().await["failed"], 6);
}

#[tokio::test]
async fn a_status_is_answered_without_a_generation() {
    let simulator = Simulator::start(&["--ttft-ms", "5000"]);
    let answer = simulator.chat(true, json!({"status": 429, "retry_after": "1.5"})).await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), ("1.5", "1500"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(simulator.stats().await["started"], 0, "nothing was generated");
}

#[tokio::test]
async fn the_configuration_holds_until_it_is_reset() {
    let simulator = Simulator::start(&[]);
    simulator.post("/sim/config", &json!({"fault": "cut_before", "tokens": 2})).await;
    broken(&simulator, false, json!({})).await;
    let opted_out = simulator.chat(false, json!({"fault": "none"})).await.unwrap();
    assert_eq!(opted_out.json()["sim"]["tokens"], 2, "the request goes first, the configuration second");
    simulator.post("/sim/config", &json!({})).await;
    assert_eq!(simulator.chat(false, json!({})).await.unwrap().json()["sim"]["tokens"], 16, "the command line last");
    let wrong = simulator.post("/sim/config", &json!({"fault": "cutt"})).await;
    assert_eq!(wrong.status, 400, "a misspelt configuration is refused");
}
