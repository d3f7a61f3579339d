//! HTTP/2 on either side: what had to be proven before we relied on it.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{CHAT, Client, Outrigger, Simulator, ask, chat, read, request, stream};

async fn connect(address: std::net::SocketAddr) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn head(address: std::net::SocketAddr, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_answered() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = chat(json!({})).to_string();

    let mut sender = connect(outrigger.address).await;
    let (response, mut send) =
        sender.send_request(head(outrigger.address, CHAT, &[("expect", "100-continue")]), false).unwrap();
    // h2 has no way to wait for an interim answer that it might miss: what counts is that one does no harm.
    sleep(Duration::from_millis(100)).await;
    send.send_data(Bytes::from(body.clone()), true).unwrap();
    let response = timeout(Duration::from_secs(60), response).await.expect("no answer came").unwrap();
    assert_eq!(response.status(), 200);

    let head =
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    let interim = crate::support::raw(outrigger.address, head.as_bytes(), Duration::from_millis(500)).await;
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue\r\n\r\n"), "over HTTP/1 the client may go on at once");
    let wrong = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: magic\r\ncontent-length: 2\r\n\r\n{{}}");
    let answer = crate::support::raw(outrigger.address, wrong.as_bytes(), Duration::from_millis(500)).await;
    assert!(answer.starts_with(b"HTTP/1.1 417 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_stream_that_a_client_resets_is_reset_at_the_backend_too() {
    let simulator = Simulator::start(&[]);
    for protocol in ["http1", "http2"] {
        let outrigger = Outrigger::before(&simulator, &[("BACKENDS__0__PROTOCOL", protocol)]).await;
        let mut client = Client::http2(outrigger.address).await;
        // Another stream of the same connections must not notice.
        let other = tokio::spawn({
            let address = outrigger.address;
            async move { ask(address, stream(json!({ "gap_ms": 10, "tokens": 60 }))).await }
        });
        let before = simulator.stats().await["cancelled"].as_u64().unwrap();
        let body = stream(json!({ "gap_ms": 10, "tokens": 10_000 })).to_string();
        let mut response = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
        response.frame().await.unwrap().unwrap();
        let left = Instant::now();
        drop(response);
        simulator.until("cancelled", before + 1).await;
        assert!(left.elapsed() < Duration::from_secs(5), "{protocol}: the cancel took {:?}", left.elapsed());
        assert!(other.await.unwrap().complete, "{protocol}: the other stream goes on");
        assert_eq!(client.ask(outrigger.address, chat(json!({})).to_string()).await.status, 200);
    }
}

/// Pingora issue 935: without a length, a body that ends in an empty DATA frame may get its last
/// chunk written twice, and the second spoils the next request on the pooled connection.
#[tokio::test]
async fn an_empty_last_data_frame_does_not_spoil_the_pooled_connection() {
    let simulator = Simulator::start(&[]);
    let settings = [("SERVER__PASSED", "[\"POST /sim/config\", \"GET /v1/models\"]")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let mut sender = connect(outrigger.address).await;
    for (path, body) in [(CHAT, chat(json!({})).to_string()), ("/sim/config", "{}".to_owned())] {
        for turn in 0..200 {
            let (response, mut send) = sender.send_request(head(outrigger.address, path, &[]), false).unwrap();
            send.send_data(Bytes::from(body.clone()), false).unwrap();
            if turn % 2 == 0 {
                tokio::task::yield_now().await;
            }
            send.send_data(Bytes::new(), true).unwrap();
            let response = timeout(Duration::from_secs(60), response).await.expect("no answer came").unwrap();
            assert_eq!(response.status(), 200, "{path}, turn {turn}");
        }
    }
}

#[tokio::test]
async fn heads_and_streams_are_limited() {
    let simulator = Simulator::start(&[]);
    let settings = [("SERVER__MAX_STREAMS", "10"), ("SERVER__MAX_HEAD_BYTES", "8192")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let Client::Http2(mut sender) = Client::http2(outrigger.address).await else { unreachable!() };
    let large = "x".repeat(20_000);
    let refused = sender.send_request(request(outrigger.address, CHAT, &[("x-large", &large)], "{}")).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));

    let mut tasks = Vec::new();
    for turn in 0..40 {
        let mut body = chat(json!({ "ttft_ms": 50 }));
        body["turn"] = turn.into();
        let mut sender = sender.clone();
        let request = request(outrigger.address, CHAT, &[], body.to_string());
        tasks.push(tokio::spawn(async move { read(sender.send_request(request).await.unwrap()).await.status }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    let peak = simulator.stats().await["peak_active"].as_u64().unwrap();
    assert!(peak <= 10, "one connection had {peak} requests in flight");
}
