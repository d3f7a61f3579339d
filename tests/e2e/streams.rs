//! A stream is byte for byte what the backend sent, or it ends in a visible error.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{CHAT, Client, Outrigger, Simulator, UNBROKEN, ask, chat, post, raw, read, request, stream};

#[tokio::test]
async fn a_stream_is_what_the_backend_sent() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    for sim in
        [json!({ "tokens": 200 }), json!({ "tokens": 20, "gap_ms": 1 }), json!({ "fault": "bad_sse", "tokens": 9 })]
    {
        // Who does not ask for usage has it asked for him, and backends then write chunks in which it is null.
        let mut body = stream(sim.clone());
        body["stream_options"] = json!({ "include_usage": true });
        let direct = ask(simulator.address, body.clone()).await;
        let through = ask(outrigger.address, body).await;
        assert!(through.complete);
        assert_eq!(through.header("content-type"), direct.header("content-type"));
        assert_eq!(normal(&through.text()), normal(&direct.text()), "{sim}");
    }
}

/// Without what differs from one generation to the next: numbers, and what is made of them.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok()) {
            Some(mut event) => {
                for key in ["id", "created", "sim"] {
                    event.as_object_mut().unwrap().remove(key);
                }
                if let Some(content) = event.pointer_mut("/choices/0/delta/content") {
                    let token = content.as_str().unwrap_or_default().split('.').nth(1).unwrap_or_default().to_owned();
                    *content = token.into();
                }
                out.push_str(&event.to_string());
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

const CUTS: [(&str, u32); 6] =
    [("cut_head", 0), ("cut", 1), ("cut", 5), ("cut_mid_event", 3), ("cut_before_done", 0), ("cut_before", 0)];

#[tokio::test]
async fn a_cut_is_never_a_clean_end() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &UNBROKEN).await;
    for (fault, at) in CUTS {
        let body = stream(json!({ "fault": fault, "at": at, "tokens": 10, "gap_ms": 2 }));
        let answer = ask(outrigger.address, body.clone()).await;
        if matches!(fault, "cut_before" | "cut_head") {
            assert_eq!(answer.status, 502, "nothing had been said: {}", answer.text());
            assert_eq!(answer.json()["error"]["code"], "backend_cut");
            continue;
        }
        assert_eq!(answer.status, 200, "{fault} {at}");
        assert!(!answer.complete, "{fault} {at}: the connection is cut and not closed politely");
        let text = answer.text();
        let last = text.trim_end().lines().last().unwrap().to_owned();
        let error: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(error["error"]["code"], "backend_cut", "{fault} {at} ended in {last}");
        assert!(!text.contains("[DONE]"), "{fault} {at}");

        let mut client = Client::http2(outrigger.address).await;
        let answer = read(client.send(request(outrigger.address, CHAT, &[], body.to_string())).await.unwrap()).await;
        assert!(!answer.complete, "{fault} {at}: over HTTP/2 the stream is reset");
    }
}

#[tokio::test]
async fn a_plain_answer_that_is_cut_is_a_502() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &UNBROKEN).await;
    for fault in ["short_body", "cut_before"] {
        let answer = ask(outrigger.address, chat(json!({ "fault": fault }))).await;
        assert_eq!((answer.status.as_u16(), answer.complete), (502, true), "{fault}");
        assert_eq!(answer.json()["error"]["type"], "server_error");
    }
    let answer = ask(outrigger.address, chat(json!({ "fault": "slow_body", "gap_ms": 2 }))).await;
    assert_eq!((answer.status.as_u16(), answer.complete), (200, true), "slow is not cut");
    let large = ask(outrigger.address, chat(json!({ "reply_bytes": 20_000_000 }))).await;
    assert!(large.complete && large.body.len() >= 20_000_000, "a large answer is streamed: {}", large.body.len());
}

#[tokio::test]
async fn deadlines_end_what_stalls() {
    let simulator = Simulator::start(&[]);
    let settings = [
        ("BREAKER__RETRIES", "0"),
        ("BREAKER__TTFT_TIMEOUT_MS", "1000"),
        ("BREAKER__TOKEN_GAP_TIMEOUT_MS", "1500"),
        ("BREAKER__WHOLE_TIMEOUT_MS", "1200"),
    ];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    for (body, status) in [
        (stream(json!({ "fault": "stall_before" })), 504),
        (chat(json!({ "fault": "stall_before" })), 504),
        (stream(json!({ "fault": "stall_after", "at": 2 })), 200),
    ] {
        let begun = Instant::now();
        let answer = ask(outrigger.address, body.clone()).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
        assert_eq!(answer.status, status, "{body}");
        if status == 200 {
            assert!(!answer.complete && answer.text().contains("backend_stalled"), "{}", answer.text());
        } else {
            assert_eq!(answer.json()["error"]["code"], "backend_timeout");
        }
    }
    simulator.until("active", 0).await;
    let slow = ask(outrigger.address, stream(json!({ "gap_ms": 200, "tokens": 8 }))).await;
    assert!(slow.complete, "a slow stream that keeps its gaps is not ended, however long it is");
}

#[tokio::test]
async fn each_token_leaves_at_once() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    for http2 in [false, true] {
        let mut client = match http2 {
            false => Client::http1(outrigger.address).await,
            true => Client::http2(outrigger.address).await,
        };
        let body = stream(json!({ "gap_ms": 300, "tokens": 5 })).to_string();
        let mut response = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
        let mut arrivals = Vec::new();
        while let Some(frame) = response.frame().await {
            if frame.unwrap().data_ref().is_some_and(|data| data.windows(7).any(|text| text == b"content")) {
                arrivals.push(Instant::now());
            }
        }
        let gaps: Vec<_> = arrivals.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert!(gaps.iter().filter(|gap| **gap >= 150).count() >= 3, "tokens were held back: {gaps:?}");
    }
}

#[tokio::test]
async fn a_chunked_stream_ends_with_its_last_chunk_and_the_connection_lives_on() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = stream(json!({ "tokens": 2 })).to_string();
    let one = |connection: &str| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // The second asks for the end: no silence has to tell that nothing more comes.
    let both = one("keep-alive") + &one("close");
    let twice = raw(outrigger.address, both.as_bytes(), Duration::from_secs(60)).await;
    let text = String::from_utf8_lossy(&twice);
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "pipelined requests are answered one by one: {text}");
    assert_eq!(text.matches("\r\n0\r\n\r\n").count(), 2);
    let old = format!("POST {CHAT} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let old = raw(outrigger.address, old.as_bytes(), Duration::from_secs(60)).await;
    let text = String::from_utf8_lossy(&old);
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("ransfer-"), "HTTP/1.0 knows no chunks: {text}");
}

#[tokio::test]
async fn every_held_route_is_answered() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    for (path, body, in_json, in_stream) in [
        (CHAT, json!({ "model": "sim", "messages": [{ "role": "user", "content": "x" }] }), "choices", "[DONE]"),
        ("/v1/completions", json!({ "model": "sim", "prompt": "x" }), "choices", "[DONE]"),
        ("/v1/responses", json!({ "model": "sim", "input": "x" }), "output", "response.completed"),
        (
            "/v1/messages",
            json!({ "model": "sim", "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }] }),
            "content",
            "message_stop",
        ),
        ("/v1/embeddings", json!({ "model": "sim", "input": "x" }), "data", ""),
    ] {
        let answer = post(outrigger.address, path, &[("anthropic-version", "2023-06-01")], body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.json().get(in_json).is_some(), "{path}");
        if !in_stream.is_empty() {
            let mut streamed = body.clone();
            streamed["stream"] = true.into();
            let answer = post(outrigger.address, path, &[], streamed.to_string()).await;
            assert!(answer.complete && answer.text().contains(in_stream), "{path}: {}", answer.text());
        }
    }
}
