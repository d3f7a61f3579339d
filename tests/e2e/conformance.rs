//! Requests and bodies that others collected to break servers with: each is answered as it should or with 400.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::{CHAT, Client, Outrigger, post, raw};

/// A backend that takes anything and says what it got.
async fn witness() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let text = serde_json::json!({ "sha256": hash(&body) }).to_string();
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(text))))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn data(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Whether an answer is among those that the collection expects; 400 and a closed connection always are.
fn is_expected(expected: &str, status: Option<u16>) -> bool {
    let Some(status) = status else {
        return expected.contains("close") || expected.contains("timeout") || expected.contains("400");
    };
    // A body that is announced too large is refused with 413, and the connection closed.
    let closed = status == 413 && expected.contains("close");
    status == 400
        || closed
        || (expected.contains("2xx") && (200..300).contains(&status))
        || (expected == "!101" && status != 101)
        || expected.split(|c: char| !c.is_ascii_digit()).any(|code| code.parse() == Ok(status))
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_requests_are_answered_as_expected_or_with_400() {
    let url = format!("http://{}", witness().await);
    let settings =
        [("BACKENDS__0__URL", url.as_str()), ("SERVER__PASSED", "[\"* /*\"]"), ("SERVER__HEAD_TIMEOUT_MS", "1500")];
    let outrigger = Outrigger::start(&settings).await;
    let cases: Vec<Value> = serde_json::from_str(&data("http11_requests.json")).unwrap();
    assert_eq!(cases.len(), 83);
    let checks = cases.iter().map(|case| async {
        let (id, expected) = (case["id"].as_str().unwrap(), case["expected"].as_str().unwrap());
        // Their bytes are written as code points.
        let request: Vec<u8> =
            case["rawRequest"].as_str().unwrap().chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
        let answer = raw(outrigger.address, &request, Duration::from_secs(3)).await;
        let status =
            std::str::from_utf8(&answer[..answer.len().min(12)]).ok().and_then(|line| line.get(9..12)?.parse().ok());
        (!is_expected(expected, status)).then(|| format!("{id}: expected {expected}, got {status:?}"))
    });
    let wrong: Vec<String> = futures::future::join_all(checks).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of 83: {wrong:#?}", wrong.len());
    assert_eq!(post(outrigger.address, CHAT, &[], "{}").await.status, 200, "it still serves");
}

#[tokio::test]
async fn json_of_every_kind_is_taken_or_refused_and_never_changed() {
    let url = format!("http://{}", witness().await);
    let outrigger = Outrigger::start(&[("BACKENDS__0__URL", &url)]).await;
    let mut client = Client::http1(outrigger.address).await;
    let (mut taken, mut refused) = (0, 0);
    for line in data("json_test_suite.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let json = base64(case["base64"].as_str().unwrap());
        for body in [json.clone(), [b"{\"messages\":", &json[..], b"}"].concat()] {
            let is_field = body.len() != json.len();
            let begun = Instant::now();
            let answer = client.ask(outrigger.address, body.clone()).await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{name} took {:?}", begun.elapsed());
            let took = match answer.status.as_u16() {
                200 => true,
                400 => false,
                other => panic!("{name} was answered with {other}"),
            };
            if took {
                assert_eq!(answer.json()["sha256"], hash(&body), "{name} was changed on its way");
                taken += 1;
            } else {
                let error = answer.json()["error"].clone();
                assert!(error["message"].is_string() && error["type"] == "invalid_request_error", "{name}: {error}");
                refused += 1;
            }
            // A key that stands twice might mean two things: valid JSON, and refused all the same.
            let twice = name.contains("duplicated_key");
            match &name[..2] {
                "n_" => assert!(!took, "{name} is not JSON"),
                "y_" if is_field && !twice => assert!(took, "{name} is JSON"),
                _ if twice => assert!(!took, "{name} could mean two things"),
                _ => {}
            }
        }
    }
    assert!(taken > 90 && refused > 300, "{taken} taken, {refused} refused");
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[tokio::test]
async fn what_could_mean_two_things_is_refused() {
    let url = format!("http://{}", witness().await);
    let outrigger = Outrigger::start(&[("BACKENDS__0__URL", &url)]).await;
    for (headers, body, status) in [
        (&[][..], r#"{"model":"cheap","model":"dear"}"#, 400),
        (&[], r#"{"model":"cheap","mo\u0064el":"dear"}"#, 400),
        (&[("content-encoding", "gzip")], "{}", 415),
        (&[("content-encoding", "identity")], "{}", 200),
        (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], "{}", 400),
    ] {
        let answer = post(outrigger.address, CHAT, headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {body}: {}", answer.text());
        if status != 200 {
            let error = answer.json()["error"].clone();
            for key in ["message", "type", "param", "code"] {
                assert!(error.get(key).is_some(), "{key} is missing in {error}");
            }
        }
    }
    let large = "x".repeat(70_000);
    let answer = post(outrigger.address, CHAT, &[("x-large", &large)], "{}").await;
    assert_eq!(answer.status, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_heads_are_closed_and_a_good_client_does_not_notice() {
    let url = format!("http://{}", witness().await);
    let settings = [("BACKENDS__0__URL", url.as_str()), ("SERVER__HEAD_TIMEOUT_MS", "1500")];
    let outrigger = Outrigger::start(&settings).await;
    let begun = Instant::now();
    let slow = (0..500).map(|number| async move {
        // Some say nothing at all, some a part, some go on with a byte now and then.
        let mut stream = TcpStream::connect(outrigger.address).await.unwrap();
        let begin: &[u8] =
            if number % 3 == 0 { b"" } else { b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: " };
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let _ = stream.write_all(begin).await;
        let mut buffer = [0; 1024];
        loop {
            match tokio::time::timeout(Duration::from_millis(200), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return begun.elapsed(),
                Ok(Ok(_)) => {}
                Err(_) if number % 3 == 2 => {
                    let _ = stream.write_all(b"y").await;
                }
                Err(_) => assert!(begun.elapsed() < Duration::from_secs(30), "connection {number} is still open"),
            }
        }
    });
    let good = async {
        let mut client = Client::http1(outrigger.address).await;
        while begun.elapsed() < Duration::from_millis(2_500) {
            assert_eq!(client.ask(outrigger.address, "{}").await.status, 200);
        }
    };
    let (closed, ()) = tokio::join!(futures::future::join_all(slow), good);
    let last = closed.into_iter().max().unwrap();
    // Far from the ten seconds that are usual.
    assert!(last < Duration::from_secs(9), "the last was closed after {last:?}");
}
