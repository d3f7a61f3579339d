//! What reaches the backend, on what connection, and what comes of its faults.

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{CHAT, Client, Outrigger, Simulator, ask, chat, get, held, post, read, request};

fn sized(bytes: usize) -> String {
    let body = chat(json!({ "echo": true })).to_string();
    let filler = "0123456789abcdef".repeat(bytes / 16 + 1);
    body.replacen("hello", &filler[..bytes.saturating_sub(body.len()).max(1)], 1)
}

#[tokio::test]
async fn bodies_of_any_size_arrive_byte_for_byte() {
    let simulator = Simulator::start(&[]);
    for protocol in ["http1", "http2"] {
        let outrigger = Outrigger::before(&simulator, &[("BACKENDS__0__PROTOCOL", protocol)]).await;
        for size in [1 << 10, 32 << 10, 256 << 10, 1 << 20, 8 << 20] {
            let body = sized(size);
            let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
            for mut client in [Client::http1(outrigger.address).await, Client::http2(outrigger.address).await] {
                let answer = client.ask(outrigger.address, body.clone()).await;
                assert_eq!(answer.status, 200, "{size}: {}", answer.text());
                assert_eq!(answer.json()["sim"]["body_sha256"], hash.as_str(), "{size} bytes, {protocol} behind");
                assert_eq!(answer.json()["sim"]["body_bytes"], body.len());
            }
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_nothing_reaches_the_backend() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[("SERVER__MAX_BODY_BYTES", "10000")]).await;
    for mut client in [Client::http1(outrigger.address).await, Client::http2(outrigger.address).await] {
        let answer = client.ask(outrigger.address, sized(20_000)).await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["error"]["code"], "request_too_large");
    }
    assert_eq!(simulator.stats().await["requests"], 0);
}

/// Python's clients send the whole body before they read: an answer that a reset overtakes is lost on them.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_its_whole_body_first() {
    let simulator = Simulator::start(&[]);
    let settings = [("SERVER__MAX_BODY_BYTES", "10000"), ("SERVER__PASSED", "[\"POST /v1/files\"]")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let bytes = 16 << 20;
    for (path, framing, status) in [
        (CHAT, format!("content-length: {bytes}"), "413"),
        (CHAT, "transfer-encoding: chunked".to_owned(), "413"),
        ("/v1/files", format!("content-length: {bytes}"), "413"),
        ("/no/such/route", format!("content-length: {bytes}"), "404"),
    ] {
        let mut stream = TcpStream::connect(outrigger.address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if framing.starts_with("transfer") {
            stream.write_all(format!("{bytes:x}\r\n").as_bytes()).await.unwrap();
        }
        stream.write_all(&vec![b'x'; bytes]).await.unwrap_or_else(|error| panic!("{path}, {framing}: {error}"));
        if framing.starts_with("transfer") {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap_or_else(|error| panic!("{path}, {framing}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}, {framing}: {answer}");
        assert!(answer.contains("Connection: close") && answer.ends_with("}}"), "the whole of it: {answer}");
    }
}

#[tokio::test]
async fn headers_go_by_an_allow_list_both_ways() {
    let simulator = Simulator::start(&[]);
    let settings = [("SERVER__FORWARDED_HEADERS", "[\"x-custom\"]")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("authorization", "Bearer sk-1"),
        ("openai-organization", "o"),
        ("x-custom", "c"),
        ("x-secret", "s"),
        ("cookie", "c=1"),
        ("x-request-id", "my-id"),
        ("traceparent", parent),
        ("accept-encoding", "gzip"),
    ];
    let answer = post(outrigger.address, CHAT, &headers, chat(json!({ "echo": true })).to_string()).await;
    let seen = answer.json()["sim"]["headers"].clone();
    for (name, expected) in [
        ("authorization", Some("Bearer sk-1")),
        ("openai-organization", Some("o")),
        ("x-custom", Some("c")),
        ("x-request-id", Some("my-id")),
        ("traceparent", Some(parent)),
        ("accept-encoding", Some("identity")),
        ("x-secret", None),
        ("cookie", None),
    ] {
        assert_eq!(seen[name].as_str(), expected, "{name}");
    }
    assert_eq!(answer.header("x-request-id"), "my-id");
    assert_eq!(answer.header("x-outrigger-backend"), "local");
    assert!(answer.header("server-timing").starts_with("dedup;dur="), "{}", answer.header("server-timing"));
    let minted = ask(outrigger.address, chat(json!({}))).await;
    assert!(minted.header("x-request-id").starts_with("req_"));
}

#[tokio::test]
async fn the_backends_own_key_takes_the_place_of_the_clients() {
    let simulator = Simulator::start(&[]);
    // Any variable will do; this one is in every environment.
    let path = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "outrigger".to_owned());
    let outrigger = Outrigger::before(&simulator, &[("BACKENDS__0__API_KEY_ENV", "CARGO_PKG_NAME")]).await;
    for (header, value) in [("authorization", "Bearer client"), ("x-api-key", "client")] {
        let answer = post(outrigger.address, CHAT, &[(header, value)], chat(json!({ "echo": true })).to_string()).await;
        let seen = answer.json()["sim"]["headers"].to_string();
        assert!(!seen.contains("client\"") && seen.contains(&path), "{header}: {seen}");
    }
}

#[tokio::test]
async fn requests_go_to_the_backend_that_serves_their_model() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&["--model", "small-1"]));
    let (one, two) = (format!("http://{}", first.address), format!("http://{}/v1", second.address));
    let outrigger = Outrigger::start(&[
        ("BACKENDS__0__URL", &one),
        ("BACKENDS__0__NAME", "large"),
        ("BACKENDS__0__MODELS", "[\"sim\"]"),
        ("BACKENDS__1__URL", &two),
        ("BACKENDS__1__NAME", "small"),
        ("BACKENDS__1__MODELS", "[\"small-*\"]"),
    ])
    .await;
    for (model, backend) in [("sim", "large"), ("small-1", "small")] {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }] });
        assert_eq!(ask(outrigger.address, body).await.header("x-outrigger-backend"), backend);
    }
    let answer = ask(outrigger.address, json!({ "model": "none", "messages": [] })).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (404, Some("model_not_found")));
}

#[tokio::test]
async fn passed_routes_go_through_and_the_rest_does_not() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let models = get(outrigger.address, "/v1/models").await;
    assert_eq!((models.status.as_u16(), models.json()["data"][0]["id"].as_str()), (200, Some("sim")));
    assert!(models.header("x-request-id").starts_with("req_"));
    assert_eq!(get(outrigger.address, "/v1/models/sim").await.status, 200);
    for path in ["/v1/files", "/", "/metrics", "/livez", "/sim/stats", "/v1/models/../../sim/stats"] {
        let answer = get(outrigger.address, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["code"], "unknown_url", "{path}");
    }
    let answer = get(outrigger.address, CHAT).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_a_clear_502() {
    let outrigger = Outrigger::start(&[("BACKENDS__0__URL", "http://127.0.0.1:9")]).await;
    let answer = ask(outrigger.address, chat(json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (502, Some("backend_unreachable")));
    assert!(!answer.text().contains("127.0.0.1"), "where it is concerns the log");
    let passed = get(outrigger.address, "/v1/models").await;
    assert_eq!((passed.status.as_u16(), passed.json()["error"]["code"].as_str()), (502, Some("backend_unreachable")));
    let messages = post(outrigger.address, "/v1/messages", &[], "{}").await;
    assert_eq!(messages.json()["type"], "error", "Anthropic's clients get Anthropic's shape");
}

/// A backend that answers each connection's first request and closes on its second, with or without
/// a first byte of an answer.
async fn fickle(second: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                for answer in
                    [&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"[..], second]
                {
                    let mut seen = Vec::new();
                    while !seen.ends_with(b"}") {
                        match stream.read(&mut buffer).await {
                            Ok(count) if count > 0 => seen.extend_from_slice(&buffer[..count]),
                            _ => return,
                        }
                    }
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_reused_connection_that_died_is_tried_once_more() {
    let backend = fickle(b"").await;
    let url = format!("http://{backend}");
    // One worker has one pool: the second request meets the first one's connection.
    let outrigger = Outrigger::start(&[("BACKENDS__0__URL", &url), ("SERVER__THREADS", "1")]).await;
    let mut twice = 0;
    for turn in 0..6 {
        let answer = ask(outrigger.address, json!({ "model": "m", "turn": turn })).await;
        assert_eq!(answer.status, 200, "turn {turn}: {}", answer.text());
        twice += u32::from(answer.header("x-outrigger-attempts") == "2");
    }
    assert!(twice >= 2, "a dead connection was met and survived, {twice} times");
}

#[tokio::test]
async fn after_the_first_byte_of_an_answer_nothing_is_tried_again() {
    let backend = fickle(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{").await;
    let url = format!("http://{backend}");
    // One worker has one pool: the second request meets the first one's connection.
    let outrigger = Outrigger::start(&[("BACKENDS__0__URL", &url), ("SERVER__THREADS", "1")]).await;
    let statuses = [
        ask(outrigger.address, json!({ "model": "m", "turn": 1 })).await.status.as_u16(),
        ask(outrigger.address, json!({ "model": "m", "turn": 2 })).await.status.as_u16(),
    ];
    assert_eq!(statuses, [200, 502]);
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_taken_whole_or_not_at_all() {
    for (answer, status) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}"[..], 200),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\ndata: [DONE]\n\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200),
        (b"nonsense\r\n\r\n", 502),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut buffer, mut seen) = (vec![0; 65_536], Vec::new());
                while !seen.ends_with(b"}") {
                    let count = stream.read(&mut buffer).await.unwrap();
                    seen.extend_from_slice(&buffer[..count]);
                }
                stream.write_all(answer).await.unwrap();
            }
        });
        let outrigger = Outrigger::start(&[("BACKENDS__0__URL", &url)]).await;
        let got = ask(outrigger.address, json!({ "model": "m" })).await;
        assert_eq!(got.status, status, "{:?}: {}", String::from_utf8_lossy(answer), got.text());
        assert!(got.complete, "{:?}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn tenants_may_come_from_a_header() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[("TENANTS__FROM", "header:x-tenant")]).await;
    let body = chat(json!({})).to_string();
    let answer = post(outrigger.address, CHAT, &[], body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    assert_eq!(get(outrigger.address, "/v1/models").await.status, 401);
    let asked = ["a", "b", "a"].map(|tenant| {
        let body = body.clone();
        async move { post(outrigger.address, CHAT, &[("x-tenant", tenant)], body).await }
    });
    held(&simulator, &outrigger, 3, futures::future::join_all(asked)).await;
    assert_eq!(simulator.stats().await["started"], 2);
}

#[tokio::test]
async fn connections_to_the_backend_are_reused() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let mut client = Client::http1(outrigger.address).await;
    for turn in 0..20 {
        let body = json!({ "model": "sim", "messages": [], "turn": turn, "stream": turn % 2 == 0 }).to_string();
        let answer = read(client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap()).await;
        assert!(answer.complete);
    }
    let stats = simulator.stats().await;
    // One is ours for asking; now and then Pingora's pool has a connection in its hands and opens another.
    assert!(stats["connections"].as_u64().unwrap() <= 8, "{stats}");
}
