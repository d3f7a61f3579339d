//! Nothing that must stay secret is told: keys in headers, bodies, queries and backends' errors, in however many requests.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::collector::Collector;
use super::{CHAT, tells};
use crate::support::{Outrigger, get, post, raw};

/// What no place may show.
const CANARY: &str = "sk-canary-7f3a";

/// A backend that quotes what it was asked in its errors, its headers, and in answers that are no HTTP.
async fn gossip() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut number = 0_usize;
        while let Ok((mut stream, _)) = listener.accept().await {
            number += 1;
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
                let error = json!({"error": {"message": format!("Incorrect API key provided: {CANARY}"),
                    "type": CANARY, "param": CANARY, "code": CANARY}})
                .to_string();
                let whole = |status: &str, more: &str, body: &str| {
                    let length = body.len();
                    format!(
                        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                    )
                };
                let answer = match number % 8 {
                    0 => whole("401 Unauthorized", &format!("www-authenticate: {CANARY}\r\n"), &error),
                    1 => whole("500 Oops", "", &error),
                    2 => format!("HTTP/1.1 200 OK\r\n{CANARY} no header: {CANARY}\r\n\r\n"),
                    3 => format!("{CANARY}\r\n\r\n"),
                    4 => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{CANARY}\r\nno chunk"),
                    5 => whole(
                        "200 OK",
                        "",
                        &format!(
                            "{{\"id\":\"{CANARY}\",\"model\":\"{CANARY}\",\"choices\":[{{\"message\":{{\"content\":\"{CANARY}\"}}}}],\"usage\":{{\"prompt_tokens\":\"{CANARY}\"}}}}"
                        ),
                    ),
                    6 => format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {{\"error\":{{\"message\":\"{CANARY}\"}}}}\n\n"
                    ),
                    _ => whole(
                        "429 Too Many",
                        &format!("retry-after: {CANARY}\r\nx-ratelimit-remaining-tokens: {CANARY}\r\n"),
                        &error,
                    ),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

async fn none_is_told(requests: usize) {
    let backend = gossip().await;
    let collector = Collector::grpc().await;
    let url = collector.url();
    let mut settings = tells(&url, "grpc");
    settings.extend([
        ("BACKENDS__0__URL", backend.as_str()),
        ("TELEMETRY__LOG_LEVEL", "trace"),
        ("SEMANTIC_CACHE__MODE", "exact"),
        ("BREAKER__CONSECUTIVE_FAILURES", "1000000"),
        ("BREAKER__RETRIES", "1"),
    ]);
    let outrigger = Outrigger::start(&settings).await;
    let address = outrigger.address;
    let mut workers = Vec::new();
    for worker in 0..16 {
        workers.push(tokio::spawn(async move {
            for number in (worker..requests).step_by(16) {
                one(address, number).await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    // What is told is told a little later.
    collector.told.until_spans(|spans| spans.len() >= 8).await;
    sleep(Duration::from_secs(3)).await;
    let mut seen = vec![("the log", outrigger.log()), ("what the collector was told", collector.told.everything())];
    for path in [
        "/metrics",
        "/healthz",
        "/api/backends",
        "/api/limits",
        "/api/cache/stats",
        "/api/costs",
        "/api/costs/today",
        "/api/budgets",
        "/api/recommendations",
        "/api/performance/metrics",
        "/api/performance/report",
        "/api/performance/slow",
        "/api/alerts",
    ] {
        let answer = get(outrigger.admin, path).await;
        assert!(answer.status == 200 || answer.status == 503, "{path}: {}", answer.text());
        seen.push((path, answer.text()));
    }
    for (place, text) in &seen {
        assert!(text.len() > 20, "{place}: {text}");
        let found = text.find(CANARY).map(|at| &text[at.saturating_sub(300)..(at + 60).min(text.len())]);
        assert_eq!(found, None, "{place}");
    }
    // One in eight is no HTTP, and so no request.
    let lines = outrigger.log().matches("outrigger::access").count();
    assert!(lines >= requests * 7 / 8, "{lines} lines of {requests} requests");
}

async fn one(address: std::net::SocketAddr, number: usize) {
    let bearer = format!("Bearer {CANARY}-{number}");
    let key = ("authorization", bearer.as_str());
    let content = format!("{CANARY} {number}");
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": content}], "user": CANARY, "seed": number});
    match number % 8 {
        0 => drop(post(address, CHAT, &[key], body.to_string()).await),
        1 => drop(post(address, CHAT, &[("x-api-key", CANARY), ("api-key", CANARY)], body.to_string()).await),
        2 => drop(post(address, &format!("{CHAT}?key={CANARY}"), &[key], body.to_string()).await),
        3 => {
            let mut streamed = body.clone();
            streamed["stream"] = true.into();
            raw(address, &framed(CHAT, &bearer, &streamed.to_string()), Duration::from_millis(500)).await;
        }
        4 => drop(post(address, CHAT, &[key], format!("{{\"{CANARY}\": 1, \"{CANARY}\": 2}}")).await),
        5 => drop(post(address, &format!("/{CANARY}"), &[key], "{}").await),
        6 => {
            raw(
                address,
                format!("GET /v1/models?key={CANARY} HTTP/1.1\r\n{CANARY}\r\n\r\n").as_bytes(),
                Duration::from_millis(20),
            )
            .await;
        }
        _ => {
            let baggage = [("baggage", CANARY), ("tracestate", CANARY), ("cookie", CANARY), ("traceparent", CANARY)];
            drop(
                post(
                    address,
                    "/v1/embeddings",
                    &[&[key][..], &baggage].concat(),
                    json!({"model": "m", "input": content}).to_string(),
                )
                .await,
            );
        }
    }
}

fn framed(path: &str, bearer: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn no_secret_is_told() {
    none_is_told(800).await;
}

/// The same, a hundred thousand times; takes minutes.
#[tokio::test]
#[ignore = "minutes of load; the short one is in every run"]
async fn no_secret_of_a_hundred_thousand_is_told() {
    none_is_told(100_000).await;
}
