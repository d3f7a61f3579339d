use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use prometheus_parse::{Scrape, Value};

use super::*;

fn snapshot() -> Snapshot {
    Snapshot {
        elapsed: Duration::from_millis(12_500),
        planned: Some(Duration::from_secs(60)),
        sent: 1_010,
        answered: 990,
        failed: 7,
        in_flight: 13,
        requests_per_second: 99.5,
        output_tokens_per_second: 2_400.0,
        p50_ms: 25.0,
        p99_ms: 250.0,
        ttft_p50_ms: Some(12.0),
        lag_p99_ms: 0.5,
        errors: BTreeMap::from([("status_503".to_owned(), 5), ("odd \"kind\"\n".to_owned(), 2)]),
    }
}

fn request(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{head} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let response = request(address, "GET /metrics");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "OpenMetrics says where it ends: {body}");
    let parsed = Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let value = |value: &Value| match value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
        other => panic!("{other:?} is no plain value"),
    };
    let name = |sample: &prometheus_parse::Sample| format!("{}{{{}}}", sample.metric, sample.labels);
    parsed.samples.iter().map(|sample| (name(sample), value(&sample.value))).collect()
}

#[test]
fn a_scrape_finds_the_run_as_it_is_now() {
    let mut metrics = Metrics::serve("127.0.0.1:0".parse().unwrap()).unwrap();
    metrics.snapshot(&snapshot());
    let found = scrape(metrics.address());
    let expected = [
        ("outrigger_load_requests_sent_total{}", 1_010.0),
        ("outrigger_load_requests_total{outcome=\"answered\"}", 990.0),
        ("outrigger_load_requests_total{outcome=\"failed\"}", 7.0),
        ("outrigger_load_errors_total{kind=\"status_503\"}", 5.0),
        ("outrigger_load_in_flight{}", 13.0),
        ("outrigger_load_requests_per_second{}", 99.5),
        ("outrigger_load_output_tokens_per_second{}", 2_400.0),
        ("outrigger_load_latency_seconds{quantile=\"0.5\"}", 0.025),
        ("outrigger_load_latency_seconds{quantile=\"0.99\"}", 0.25),
        ("outrigger_load_ttft_seconds{quantile=\"0.5\"}", 0.012),
        ("outrigger_load_schedule_lag_p99_seconds{}", 0.0005),
        ("outrigger_load_elapsed_seconds{}", 12.5),
        ("outrigger_load_planned_seconds{}", 60.0),
    ];
    for (name, value) in expected {
        assert_eq!(found.get(name), Some(&value), "{name} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len() + 1, "and the kind with the odd name: {found:#?}");
    metrics.snapshot(&Snapshot { answered: 1_000, ..snapshot() });
    let later = scrape(metrics.address());
    assert_eq!(later["outrigger_load_requests_total{outcome=\"answered\"}"], 1_000.0, "each scrape is of its moment");
}

#[test]
fn what_is_not_measured_has_no_metric() {
    let mut metrics = Metrics::serve("127.0.0.1:0".parse().unwrap()).unwrap();
    metrics.snapshot(&Snapshot { ttft_p50_ms: None, planned: None, ..snapshot() });
    let found = scrape(metrics.address());
    let absent = |name: &str| !found.keys().any(|found| found.starts_with(name));
    assert!(absent("outrigger_load_ttft") && absent("outrigger_load_planned"), "{found:#?}");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let metrics = Metrics::serve("127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(request(metrics.address(), "GET /").starts_with("HTTP/1.1 404"));
    assert!(request(metrics.address(), "DELETE /metrics").starts_with("HTTP/1.1 405"));
}

#[test]
fn an_address_in_use_is_told_and_a_dropped_server_leaves_it() {
    let metrics = Metrics::serve("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = metrics.address();
    let Err(error) = Metrics::serve(address) else { panic!("two cannot listen at {address}") };
    assert!(error.to_string().starts_with(&format!("--prometheus {address}: cannot listen there")), "{error}");
    drop(metrics);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
