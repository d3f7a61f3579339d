//! What the simulator refuses, and how.

use serde_json::json;

use crate::client::Simulator;

#[tokio::test]
async fn bad_requests_are_told_why() {
    let simulator = Simulator::start(&[]);
    let cases = [
        ("/v1/chat/completions", r#"{"model": "sim", "#, "EOF"),
        ("/v1/chat/completions", r#"{"messages": []}"#, "model"),
        ("/v1/chat/completions", r#"{"model": "sim"}"#, "messages"),
        ("/v1/embeddings", r#"{"model": "sim"}"#, "input"),
        ("/v1/embeddings", r#"{"model": "sim", "input": []}"#, "input"),
        ("/v1/completions", r#"{"model": "sim", "max_tokens": 0}"#, "at least 1"),
        ("/v1/completions", r#"{"model": "sim", "max_tokens": 99999999999}"#, "10000000"),
        ("/v1/completions", r#"{"model": "sim", "sim": {"ttft": 3}}"#, "unknown field `ttft`"),
        ("/v1/completions", r#"{"model": "sim", "sim": {"fault": "bad_sse"}}"#, "JSON form"),
        ("/v1/completions", r#"{"model": "sim", "stream": true, "sim": {"fault": "short_body"}}"#, "stream form"),
    ];
    for (path, body, reason) in cases {
        let answer = simulator.ask("POST", path, body).await.unwrap();
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["type"]), (400, &json!("invalid_request_error")), "{body}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{body}: {error}");
    }
    assert_eq!(simulator.stats().await["started"], 0, "none was a generation");
    assert_eq!(simulator.stats().await["requests"], cases.len(), "all were requests");
}

#[tokio::test]
async fn wrong_urls_and_methods_are_told_apart() {
    let simulator = Simulator::start(&[]);
    assert_eq!(simulator.get("/v1/nothing").await.status, 404);
    assert_eq!(simulator.get("/sim/nothing").await.status, 404);
    for (method, path, allowed) in
        [("GET", "/v1/completions", "POST"), ("POST", "/v1/models", "GET, HEAD"), ("POST", "/sim/stats", "GET")]
    {
        let answer = simulator.ask(method, path, "").await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_refused() {
    let simulator = Simulator::start(&[]);
    let head = "POST /v1/completions HTTP/1.1\r\nhost: simulator\r\ncontent-length: 67108865\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(simulator.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413", "before a byte of it is sent");
}
