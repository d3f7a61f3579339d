//! What is told of requests: spans and metrics to a real collector, lines, `/metrics`.

mod canaries;
mod collector;
mod conventions;

use std::time::Duration;

use http::Request;
use http::header::ACCEPT;
use http_body_util::Full;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use self::collector::{Collector, value};
use crate::support::{Client, Outrigger, Simulator, UNBROKEN, chat, get, post, read, stream};

const CHAT: &str = "/v1/chat/completions";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn tells<'a>(url: &'a str, protocol: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("TELEMETRY__OTLP_ENDPOINT", url),
        ("TELEMETRY__OTLP_PROTOCOL", protocol),
        ("TELEMETRY__SAMPLE_RATIO", "1.0"),
        ("TELEMETRY__METRICS_INTERVAL_SECS", "1"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'spans>(spans: &'spans [Span], name: &str) -> &'spans Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

async fn a_trace_tells_the_way(collector: Collector, protocol: &str) {
    let simulator = Simulator::start(&["--ttft-ms", "50"]);
    let (url, told) = (collector.url(), collector.told.clone());
    let outrigger = Outrigger::before(&simulator, &tells(&url, protocol)).await;
    let mut body = stream(json!({"echo": true}));
    body["stream_options"] = json!({"include_usage": true});
    let answer = post(outrigger.address, CHAT, &[("traceparent", PARENT)], body.to_string()).await;
    assert_eq!(answer.status, 200);
    let spans = told.until_spans(|spans| spans.len() >= 6).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == "4bf92f3577b34da6a3ce929d0e0e4736"), "{spans:#?}");
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).expect("the request's own");
    assert_eq!((server.name.as_str(), hex(&server.parent_span_id)), ("chat sim", "00f067aa0ba902b7".to_owned()));
    // Each room under the one before it, and the call under the last.
    let mut above = server;
    for room in ["dedup", "breaker", "cost", "latency"] {
        let span = named(&spans, room);
        assert_eq!(hex(&span.parent_span_id), hex(&above.span_id), "{room}");
        assert_eq!(span.kind, SpanKind::Internal as i32);
        above = span;
    }
    let call = spans.iter().find(|span| span.kind == SpanKind::Client as i32).expect("the call");
    assert_eq!((call.name.as_str(), hex(&call.parent_span_id)), ("chat sim", hex(&above.span_id)));
    let of = |span: &Span, key: &str| value(&span.attributes, key).unwrap_or_else(|| panic!("{key} in {span:#?}"));
    for (key, expected) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "sim"),
        ("gen_ai.request.stream", "true"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(of(server, key), expected, "{key}");
        assert_eq!(of(call, key), expected, "{key}");
    }
    assert_eq!(of(call, "gen_ai.response.model"), "sim");
    assert!(of(call, "gen_ai.response.finish_reasons").contains("stop"), "{call:#?}");
    assert!(!of(call, "gen_ai.response.id").is_empty());
    assert_eq!(of(call, "server.port"), simulator.address.port().to_string());
    assert_eq!(of(call, "gen_ai.usage.output_tokens"), of(server, "gen_ai.usage.output_tokens"));
    assert!(of(call, "gen_ai.usage.output_tokens").parse::<u64>().unwrap() > 0);
    let first: f64 = of(server, "gen_ai.response.time_to_first_chunk").parse().unwrap();
    assert!((0.05..5.0).contains(&first), "{first} s");
    assert!(call.end_time_unix_nano >= named(&spans, "latency").end_time_unix_nano, "a call goes on behind its head");
    // The backend's own spans would be children of the call.
    let reported = answer.text();
    assert!(reported.contains(&format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&call.span_id))), "{reported}");
    assert_eq!(value(&told.resource(), "service.name").as_deref(), Some("outrigger"));
}

#[tokio::test]
async fn a_trace_tells_the_way_over_grpc() {
    a_trace_tells_the_way(Collector::grpc().await, "grpc").await;
}

#[tokio::test]
async fn a_trace_tells_the_way_over_http() {
    a_trace_tells_the_way(Collector::http().await, "http").await;
}

#[tokio::test]
async fn a_request_that_shares_an_answer_points_to_whose_it_is() {
    let simulator = Simulator::start(&["--ttft-ms", "300"]);
    let collector = Collector::grpc().await;
    let outrigger = Outrigger::before(&simulator, &tells(&collector.url(), "grpc")).await;
    let ask = || post(outrigger.address, CHAT, &[], chat(json!({})).to_string());
    let (one, other) = tokio::join!(ask(), ask());
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    let servers = |spans: &[Span]| spans.iter().filter(|span| span.kind == SpanKind::Server as i32).count();
    let spans = collector.told.until_spans(|spans| servers(spans) == 2).await;
    let part = |part: &str| {
        let plays = |span: &&Span| value(&span.attributes, "outrigger.dedup").as_deref() == Some(part);
        spans.iter().find(plays).unwrap_or_else(|| panic!("a {part}"))
    };
    let (leader, follower) = (part("leader"), part("follower"));
    assert_eq!(follower.links.len(), 1);
    assert_eq!(follower.links[0].trace_id, leader.trace_id);
    assert_eq!(spans.iter().filter(|span| span.kind == SpanKind::Client as i32).count(), 1, "it was called once");
}

#[tokio::test]
async fn each_try_is_a_span_and_says_why_it_failed() {
    let simulator = Simulator::start(&[]);
    let collector = Collector::grpc().await;
    let outrigger = Outrigger::before(&simulator, &tells(&collector.url(), "grpc")).await;
    let answer = post(outrigger.address, CHAT, &[], chat(json!({"status": 503})).to_string()).await;
    assert_eq!(answer.status, 503);
    let calls = |spans: &[Span]| spans.iter().filter(|span| span.kind == SpanKind::Client as i32).count();
    let spans = collector.told.until_spans(|spans| spans.iter().any(|span| span.kind == SpanKind::Server as i32)).await;
    assert!(calls(&spans) >= 2, "it was tried again: {spans:#?}");
    for call in spans.iter().filter(|span| span.kind == SpanKind::Client as i32) {
        assert_eq!(value(&call.attributes, "error.type").as_deref(), Some("503"));
        assert_eq!(call.status.as_ref().map(|status| status.code), Some(2), "an error");
    }
}

#[tokio::test]
async fn without_a_collector_a_context_goes_through_as_it_came() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let ask = |headers: &'static [(&'static str, &'static str)]| {
        post(outrigger.address, CHAT, headers, chat(json!({"echo": true})).to_string())
    };
    assert!(ask(&[("traceparent", PARENT)]).await.text().contains(PARENT));
    assert!(!ask(&[]).await.text().contains("traceparent"));
}

#[derive(Clone, Copy, Debug)]
enum Sick {
    /// Nobody listens.
    Down,
    /// Takes connections and says nothing.
    Slow,
    /// Answers with what is no answer.
    Refusing,
}

/// A collector's address that is of no use.
async fn sick(how: Sick) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    if matches!(how, Sick::Down) {
        return url;
    }
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if matches!(how, Sick::Refusing) {
                let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, refusal).await;
            } else {
                open.push(stream);
            }
        }
    });
    url
}

/// A question that nobody else asks.
fn another(seed: u64) -> String {
    let mut body = chat(json!({}));
    body["seed"] = seed.into();
    body.to_string()
}

async fn is_of_no_concern(how: Sick, protocol: &'static str) {
    let simulator = Simulator::start(&[]);
    let url = sick(how).await;
    let mut settings = tells(&url, protocol);
    settings.extend([("TELEMETRY__OTLP_TIMEOUT_MS", "300"), ("TELEMETRY__OTLP_QUEUE", "64")]);
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        let answer = post(outrigger.address, CHAT, &[], another(asked)).await;
        assert_eq!(answer.status, 200, "{how:?}");
        asked += 1;
    }
    // Several batches of each signal have failed by now.
    outrigger.until_failed("spans", 2.0).await;
    outrigger.until_failed("metrics", 2.0).await;
    let log = outrigger.log();
    let said = log.lines().filter(|line| line.contains("the collector does not take")).count();
    assert_eq!(said, 2, "once for spans and once for metrics, after {asked} requests: {log}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect();
    assert_eq!(warnings.len(), 2, "nobody else says it too: {warnings:?}");
}

impl Outrigger {
    async fn until_failed(&self, signal: &str, least: f64) {
        let until = Instant::now() + Duration::from_secs(30);
        let series = format!("outrigger_telemetry_exports_total{{outcome=\"failed\",signal=\"{signal}\"}}");
        while self.metric(&series).await.unwrap_or_default() < least {
            assert!(Instant::now() < until, "{series} never came to {least}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_down_is_of_no_concern() {
    tokio::join!(is_of_no_concern(Sick::Down, "grpc"), is_of_no_concern(Sick::Down, "http"));
}

#[tokio::test]
async fn a_collector_that_is_slow_is_of_no_concern() {
    tokio::join!(is_of_no_concern(Sick::Slow, "grpc"), is_of_no_concern(Sick::Slow, "http"));
}

#[tokio::test]
async fn a_collector_that_refuses_is_of_no_concern() {
    tokio::join!(is_of_no_concern(Sick::Refusing, "grpc"), is_of_no_concern(Sick::Refusing, "http"));
}

#[tokio::test]
async fn a_collector_that_comes_later_is_told_from_then_on() {
    let simulator = Simulator::start(&[]);
    let url = sick(Sick::Down).await;
    let mut settings = tells(&url, "http");
    settings.push(("TELEMETRY__OTLP_TIMEOUT_MS", "500"));
    let outrigger = Outrigger::before(&simulator, &settings).await;
    post(outrigger.address, CHAT, &[], chat(json!({})).to_string()).await;
    outrigger.until_failed("spans", 1.0).await;
    outrigger.until_failed("metrics", 1.0).await;
    let listener = TcpListener::bind(url.strip_prefix("http://").unwrap()).await.unwrap();
    let collector = Collector::http_on(listener);
    post(outrigger.address, CHAT, &[], another(2)).await;
    collector.told.until_spans(|spans| !spans.is_empty()).await;
    collector.told.until_metric("gen_ai.server.request.duration").await;
    assert_eq!(outrigger.log().matches("takes what it is told again").count(), 2);
}

/// The lines of requests, once there are so many.
async fn access_lines(outrigger: &Outrigger, count: usize) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let log = outrigger.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<_> = lines.filter(|line| line["target"] == "outrigger::access").collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < until, "{} lines: {log}", lines.len());
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_request_has_one_line() {
    let simulator = Simulator::start(&["--ttft-ms", "20"]);
    let outrigger = Outrigger::before(&simulator, &UNBROKEN).await;
    let key = ("authorization", "Bearer one");
    post(outrigger.address, CHAT, &[key, ("x-request-id", "mine-1")], stream(json!({})).to_string()).await;
    post(outrigger.address, CHAT, &[key], chat(json!({"status": 500})).to_string()).await;
    post(outrigger.address, CHAT, &[key], "{").await;
    get(outrigger.address, "/v1/models").await;
    get(outrigger.address, "/nowhere").await;
    let lines = access_lines(&outrigger, 5).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(access_lines(&outrigger, 5).await.len(), 5, "one each");
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["status"].as_u64().unwrap(), line["error"].as_str(), line["route"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (200, None, Some(CHAT)),
            (500, Some("500"), Some(CHAT)),
            (400, Some("invalid_json"), Some(CHAT)),
            (200, None, Some("GET /v1/models")),
            (404, Some("unknown_url"), None),
        ]
    );
    let line = &lines[0];
    for (key, expected) in [("request_id", "mine-1"), ("model", "sim"), ("backend", "local"), ("dedup", "leader")] {
        assert_eq!(line[key], expected, "{line}");
    }
    assert_eq!((line["stream"].as_bool(), line["attempts"].as_u64()), (Some(true), Some(1)));
    let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} in {line}"));
    assert!(number("first_token_ms") >= 20.0 && number("duration_ms") >= number("first_token_ms"), "{line}");
    assert!(number("request_bytes") > 0.0 && number("answer_bytes") > 0.0 && number("output_tokens") > 0.0, "{line}");
    assert_eq!(line["tenant"].as_str().map(str::len), Some(8), "{line}");
    assert!(line["rooms_ms"].as_str().unwrap().contains("breaker="), "{line}");
    assert_eq!(lines[3]["model"], Value::Null);
}

#[tokio::test]
async fn a_slow_bucket_names_a_trace() {
    let simulator = Simulator::start(&["--ttft-ms", "30"]);
    let collector = Collector::grpc().await;
    let outrigger = Outrigger::before(&simulator, &tells(&collector.url(), "grpc")).await;
    post(outrigger.address, CHAT, &[("traceparent", PARENT)], stream(json!({})).to_string()).await;
    collector.told.until_spans(|spans| !spans.is_empty()).await;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let head = Request::get("/metrics").header("host", "admin").header(ACCEPT, accept).body(Full::default()).unwrap();
    let response = Client::http1(outrigger.admin).await.send(head).await.unwrap();
    let answer = read(response).await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    for family in ["gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds"] {
        let with: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with(&format!("{family}_bucket")) && line.contains(" # {"))
            .collect();
        assert_eq!(with.len(), 1, "one request is in one bucket of {family}: {with:?}");
        assert!(with[0].contains("trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\""), "{with:?}");
    }
    let plain = get(outrigger.admin, "/metrics").await;
    assert!(plain.header("content-type").starts_with("text/plain") && !plain.text().contains(" # {"));
}
