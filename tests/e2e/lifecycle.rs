//! From the start to the end of a process, and what it says meanwhile.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::{
    Answer, CHAT, Client, Outrigger, Simulator, UNBROKEN, ask, chat, command, get, post, read, request, stream,
};

#[tokio::test]
async fn sigterm_lets_a_stream_end_and_then_the_process() {
    let simulator = Simulator::start(&[]);
    let mut outrigger = Outrigger::before(&simulator, &[]).await;
    let mut client = Client::http1(outrigger.address).await;
    let body = stream(json!({ "gap_ms": 40, "tokens": 50 })).to_string();
    let mut response = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
    response.frame().await.unwrap().unwrap();
    let idle = Client::http1(outrigger.address).await;
    // The stream does not end before all of this was seen.
    simulator.hold();
    outrigger.process.signal(15);
    let signalled = Instant::now();
    while get(outrigger.admin, "/readyz").await.status != 503 || TcpStream::connect(outrigger.address).await.is_ok() {
        assert!(signalled.elapsed() < Duration::from_secs(20), "it is not ready, and takes no more connections");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(get(outrigger.admin, "/livez").await.status, 200);
    simulator.go_on();
    let answer = read(response).await;
    assert!(answer.complete && answer.text().contains(".49 "), "the stream in flight ends as it should");
    let over = Instant::now();
    assert_eq!(outrigger.process.ended(Duration::from_secs(60)).await, Some(0));
    assert!(over.elapsed() < Duration::from_secs(5), "it waits for nothing more: {:?}", over.elapsed());
    drop(idle);
}

#[tokio::test]
async fn the_time_to_drain_is_limited() {
    let simulator = Simulator::start(&[]);
    let mut outrigger = Outrigger::before(&simulator, &[("SERVER__DRAIN_SECS", "1")]).await;
    let mut client = Client::http1(outrigger.address).await;
    let body = stream(json!({ "gap_ms": 100, "tokens": 1000 })).to_string();
    let response = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
    outrigger.process.signal(15);
    assert_eq!(outrigger.process.ended(Duration::from_secs(15)).await, Some(0));
    assert!(!read(response).await.complete, "what is cut is seen to be cut");
}

/// Asks for a stream of its own, and hands on its end once it has begun.
async fn begun(address: std::net::SocketAddr, number: usize, tokens: usize) -> tokio::task::JoinHandle<Answer> {
    let mut client = if number.is_multiple_of(5) { Client::http2(address).await } else { Client::http1(address).await };
    let mut body = stream(json!({ "gap_ms": 50, "tokens": tokens }));
    body["messages"][0]["content"] = number.to_string().into();
    let response = client.send(request(address, CHAT, &[], body.to_string())).await.unwrap();
    assert_eq!(response.status(), 200);
    tokio::spawn(async move {
        let answer = read(response).await;
        drop(client);
        answer
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_five_hundred_streams_ends_each_whole_or_in_a_visible_error() {
    let simulator = Simulator::start(&[]);
    let settings = [("SERVER__DRAIN_SECS", "12"), ("BREAKER__ADMISSION__ADAPTIVE", "false")];
    let mut outrigger = Outrigger::before(&simulator, &settings).await;
    // Half of them fit the time, on any machine; the others never do.
    let streams =
        (0..500).map(|number| begun(outrigger.address, number, if number.is_multiple_of(2) { 20 } else { 100_000 }));
    let streams = futures::future::join_all(streams).await;
    // One that has not been answered at all by then.
    let address = outrigger.address;
    let waiting = tokio::spawn(async move { ask(address, chat(json!({ "ttft_ms": 120_000 }))).await });
    outrigger.until_boarded(501).await;
    outrigger.process.signal(15);
    for (number, answer) in futures::future::join_all(streams).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        let text = answer.text();
        if number.is_multiple_of(2) {
            assert!(answer.complete && text.contains(".19 ") && text.contains("[DONE]"), "{number} fits: {text:.400}");
        } else {
            assert!(!answer.complete && !text.contains("[DONE]"), "{number} is cut, and seen to be");
            assert!(text.contains("server_shutting_down"), "{number} is told why");
        }
    }
    let refused = waiting.await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "server_shutting_down");
    assert_eq!(outrigger.process.ended(Duration::from_secs(30)).await, Some(0), "{}", outrigger.log());
}

#[tokio::test]
async fn told_a_second_time_it_waits_no_longer() {
    let simulator = Simulator::start(&[]);
    let mut outrigger = Outrigger::before(&simulator, &[("SERVER__DRAIN_SECS", "600")]).await;
    let streaming = begun(outrigger.address, 1, 100_000).await;
    outrigger.process.signal(2);
    outrigger.until_logged("draining").await;
    outrigger.process.signal(2);
    let answer = streaming.await.unwrap();
    assert!(!answer.complete && answer.text().contains("server_shutting_down"), "{:.300}", answer.text());
    assert_eq!(outrigger.process.ended(Duration::from_secs(30)).await, Some(0));
}

#[tokio::test]
async fn a_request_on_an_idle_connection_is_answered_while_others_drain() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let mut idle = Client::http1(outrigger.address).await;
    assert_eq!(idle.ask(outrigger.address, chat(json!({})).to_string()).await.status, 200);
    let streaming = begun(outrigger.address, 1, 60).await;
    outrigger.process.signal(15);
    outrigger.until_logged("draining").await;
    let answer = idle.ask(outrigger.address, chat(json!({})).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"), "and told to come anew");
    assert!(streaming.await.unwrap().complete);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_ends_the_process() {
    let simulator = Simulator::start(&[]);
    let (listen, backend) = (simulator.address.to_string(), format!("http://{}", simulator.address));
    for key in ["LISTEN", "ADMIN"] {
        let settings = [("OUTRIGGER_BACKEND", backend.as_str()), (&format!("OUTRIGGER__SERVER__{key}"), &listen)];
        let (code, _, error) = command(&[], &settings);
        assert_eq!(code, 1);
        let expected = format!("server.{}: cannot listen on {listen}", key.to_lowercase());
        assert!(error.contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn metrics_have_the_conventions_names_units_and_buckets() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &UNBROKEN).await;
    ask(outrigger.address, stream(json!({ "tokens": 5, "gap_ms": 2 }))).await;
    ask(outrigger.address, chat(json!({}))).await;
    ask(outrigger.address, chat(json!({ "status": 500 }))).await;
    post(outrigger.address, "/v1/embeddings", &[], r#"{"model":"sim","input":"x"}"#).await;
    // What is counted at the end of an answer may come a moment after its last byte.
    for room in ["dedup", "latency", "backend"] {
        let count = format!("outrigger_filter_duration_seconds_count{{filter=\"{room}\"}}");
        outrigger.until_metric(&count, 4.0).await;
    }
    outrigger.until_metric("outrigger_dedup_requests_total{role=\"leader\"}", 4.0).await;
    let text = get(outrigger.admin, "/metrics").await.text();
    for (name, buckets) in [
        (
            "gen_ai_server_request_duration_seconds",
            "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92",
        ),
        (
            "gen_ai_server_time_to_first_token_seconds",
            "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10",
        ),
        ("gen_ai_server_time_per_output_token_seconds", "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5"),
        (
            "gen_ai_client_operation_duration_seconds",
            "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92",
        ),
        (
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92",
        ),
        (
            "gen_ai_client_operation_time_per_output_chunk_seconds",
            "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92",
        ),
    ] {
        let series = format!(
            "{name}_bucket{{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"sim\",le=\""
        );
        let found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(series.as_str())?.split('"').next())
            .filter(|bound| *bound != "+Inf")
            .collect();
        assert_eq!(found.join(" "), buckets, "{name}");
    }
    assert!(text.contains("gen_ai_operation_name=\"embeddings\""));
    assert!(text.contains("error_type=\"500\""), "an error has its type");
}

#[tokio::test]
async fn neither_keys_nor_prompts_are_in_logs_or_metrics() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[("TELEMETRY__LOG_LEVEL", "debug")]).await;
    let key = [("authorization", "Bearer canary-key-1")];
    for body in [
        r#"{"model":"sim","messages":[{"role":"user","content":"canary-prompt"}]}"#,
        r#"{"model":"sim","messages":["canary-prompt","#,
        r#"{"model":"sim","messages":[{"canary-prompt":1,"canary-prompt":2}]}"#,
        r#"{"model":"sim","messages":[],"sim":{"fault":"cut_before"}}"#,
        r#"{"model":"sim","stream":true,"messages":["canary-prompt"],"sim":{"fault":"cut","at":1}}"#,
    ] {
        post(outrigger.address, CHAT, &key, body).await;
    }
    get(outrigger.address, "/v1/models?key=canary-key-1").await;
    let seen = outrigger.log() + &get(outrigger.admin, "/metrics").await.text();
    assert!(seen.contains("outrigger listens"));
    assert!(!seen.contains("canary"), "{:?}", seen.lines().find(|line| line.contains("canary")));
}

#[tokio::test]
async fn the_admin_port_answers_what_it_knows_and_nothing_else() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    assert_eq!(get(outrigger.admin, "/livez").await.status, 200);
    assert_eq!(get(outrigger.admin, "/v1/models").await.status, 404);
    assert_eq!(post(outrigger.admin, "/metrics", &[], "").await.status, 405);
}
