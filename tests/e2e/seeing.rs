//! What the sidecar says of itself: where the time goes, the slowest requests, alerts, health.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::redis::Redis;
use crate::support::{CHAT, Outrigger, Simulator, UNBROKEN, chat, get, post, stream};

const LIMITS: (&str, &str) = ("RATE_LIMIT__LIMITS", r#"[{ name = "rpm", amount = 1_000_000, window = "1m" }]"#);

/// Waits until the report names this bottleneck: requests are told of a little after they are answered.
async fn until_named(outrigger: &Outrigger, part: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let report = get(outrigger.admin, "/api/performance/report").await.json();
        if report["bottleneck"]["part"] == part && report["bottleneck"]["severity"] != "none" {
            return report;
        }
        assert!(Instant::now() < until, "{part} is not named: {report:#}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_slow_backend_is_named() {
    let (quick, slow) = (Simulator::start(&["--ttft-ms", "10"]), Simulator::start(&["--ttft-ms", "200"]));
    let urls = [format!("http://{}", quick.address), format!("http://{}", slow.address)];
    let settings = [
        ("BACKENDS__0__URL", urls[0].as_str()),
        ("BACKENDS__0__NAME", "quick"),
        ("BACKENDS__1__URL", urls[1].as_str()),
        ("BACKENDS__1__NAME", "slow"),
        ("BREAKER__BALANCE", "round_robin"),
    ];
    let outrigger = Outrigger::start(&settings).await;
    join_all((0..80).map(|seed| {
        post(
            outrigger.address,
            CHAT,
            &[],
            stream(json!({})).to_string().replace("\"model\"", &format!("\"seed\":{seed},\"model\"")),
        )
    }))
    .await;
    let report = until_named(&outrigger, "backend").await;
    let bottleneck = &report["bottleneck"];
    assert_eq!(bottleneck["name"], "slow", "{report:#}");
    assert!(!bottleneck["evidence"].as_array().unwrap().is_empty() && report["recommendations"][0].is_string());
    let metrics = get(outrigger.admin, "/api/performance/metrics").await.json();
    let first = metrics["backends"]["slow"]["1m"]["first_chunk"]["p50_ms"].as_f64().expect("a time");
    assert!((200.0..400.0).contains(&first), "{first} ms");
    let slow = get(outrigger.admin, "/api/performance/slow").await.json();
    let slowest = &slow["requests"][0];
    assert_eq!((slowest["backend"].as_str(), slowest["model"].as_str()), (Some("slow"), Some("sim")), "{slow:#}");
    let timeline = slowest["timeline"].as_array().unwrap();
    let names: Vec<_> = timeline.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dedup", "breaker", "cost", "latency", "backend"]);
    assert!(timeline[4]["own_ms"].as_f64().unwrap() >= 200.0, "{slowest:#}");
}

/// A way to a server on which every word takes longer.
async fn slow_way(to: SocketAddr, by: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(to).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                    sleep(by).await;
                    to_client.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_slow_redis_is_named() {
    let simulator = Simulator::start(&["--ttft-ms", "30"]);
    let redis = Redis::start().await;
    let way = slow_way(redis.address, Duration::from_millis(25)).await;
    let url = format!("redis://{way}");
    let settings = [LIMITS, ("REDIS__URL", url.as_str()), ("REDIS__TIMEOUT_MS", "500")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    for seed in 0..40 {
        let mut body = chat(json!({}));
        body["seed"] = seed.into();
        assert_eq!(post(outrigger.address, CHAT, &[], body.to_string()).await.status, 200);
    }
    let report = until_named(&outrigger, "redis").await;
    assert_eq!(report["bottleneck"]["name"], "redis", "{report:#}");
    let rate_limit = report["parts"].as_array().unwrap().iter().find(|part| part["name"] == "rate_limit").unwrap();
    assert!(rate_limit["p95_ms"].as_f64().unwrap() >= 25.0, "{report:#}");
}

#[tokio::test]
async fn a_saturated_embedder_is_named() {
    let simulator = Simulator::start(&["--ttft-ms", "5"]);
    let model = crate::cache::model().display().to_string();
    let settings = [
        ("SEMANTIC_CACHE__MODE", "on"),
        ("SEMANTIC_CACHE__MODEL_PATH", model.as_str()),
        ("SEMANTIC_CACHE__SESSIONS", "1"),
        ("SEMANTIC_CACHE__QUEUE", "8"),
        ("SEMANTIC_CACHE__DEADLINE_MS", "2000"),
        ("SEMANTIC_CACHE__MAX_TEMPERATURE", "2"),
    ];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    until_meaning(&outrigger).await;
    for round in 0..4 {
        let asked = (0..40).map(|number| {
            let question = format!(
                "What is the {number}th thing to know about river number {round} and the towns along its banks?"
            );
            let body = json!({"model": "sim", "messages": [{"role": "user", "content": question}], "temperature": 0});
            post(outrigger.address, CHAT, &[], body.to_string())
        });
        join_all(asked).await;
    }
    let report = until_named(&outrigger, "embedder").await;
    assert!(!report["bottleneck"]["evidence"].as_array().unwrap().is_empty(), "{report:#}");
}

async fn until_meaning(outrigger: &Outrigger) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let health = get(outrigger.admin, "/healthz").await.json();
        if health["parts"]["semantic_cache"]["by_meaning"] == "on" {
            return assert_eq!(health["parts"]["model_file"]["status"], "ok");
        }
        assert!(Instant::now() < until, "{health:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Takes what is posted to it, with the key that came along.
async fn hook() -> (String, Arc<Mutex<Vec<(String, Value)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?secret=canary", listener.local_addr().unwrap());
    let told = Arc::<Mutex<Vec<_>>>::default();
    let kept = told.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = kept.clone();
            let take = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let kept = kept.clone();
                async move {
                    let key = request.headers()["authorization"].to_str().unwrap().to_owned();
                    let body = request.into_body().collect().await?.to_bytes();
                    kept.lock().unwrap().push((key, serde_json::from_slice(&body).unwrap()));
                    Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
        }
    });
    (url, told)
}

#[tokio::test]
async fn what_is_alarming_is_told_in_the_log_by_the_hook_and_under_alerts() {
    let simulator = Simulator::start(&[]);
    let (url, told) = hook().await;
    let rules = r#"[{ metric = "error_rate", warning = 0.05, critical = 0.5, window = "1m" }]"#;
    let settings = [
        ("ALERTS__RULES", rules),
        ("ALERTS__WEBHOOK_URL", url.as_str()),
        ("ALERTS__WEBHOOK_KEY_ENV", "OUTRIGGER__SERVER__LISTEN"),
    ];
    let outrigger = Outrigger::before(&simulator, &[&settings[..], &UNBROKEN].concat()).await;
    for seed in 0..30 {
        let mut body = chat(json!({"status": 500}));
        body["seed"] = seed.into();
        post(outrigger.address, CHAT, &[], body.to_string()).await;
    }
    let until = Instant::now() + Duration::from_secs(20);
    while told.lock().unwrap().is_empty() {
        assert!(Instant::now() < until, "nothing was posted: {}", outrigger.log());
        sleep(Duration::from_millis(50)).await;
    }
    let (key, words) = told.lock().unwrap()[0].clone();
    assert_eq!(key, format!("Bearer {}", outrigger.address));
    assert_eq!(
        (&words["kind"], &words["data"]["metric"], &words["data"]["level"]),
        (&json!("alert"), &json!("error_rate"), &json!("critical"))
    );
    assert!(
        outrigger.log().lines().any(|line| line.contains("\"alert\"") && line.contains("error_rate")),
        "in the log"
    );
    assert!(!outrigger.log().contains("canary"), "an address may hold a secret");
    let alerts = get(outrigger.admin, "/api/alerts").await.json();
    assert_eq!((alerts["active"].as_u64(), &alerts["rules"][0]["level"]), (Some(1), &json!("critical")), "{alerts:#}");
    assert_eq!(outrigger.metric("outrigger_alert{rule=\"error_rate\"}").await, Some(2.0));
    // It degrades the whole, and ends nobody.
    let health = get(outrigger.admin, "/healthz").await;
    assert_eq!(health.status, StatusCode::OK);
    let health = health.json();
    assert_eq!(
        (&health["status"], &health["parts"]["errors"]["status"]),
        (&json!("degraded"), &json!("degraded")),
        "{health:#}"
    );
    let events = post_events(&outrigger).await;
    assert!(events.contains("event: alert") && events.contains("error_rate"), "{events}");
}

/// What has been told so far.
async fn post_events(outrigger: &Outrigger) -> String {
    let head = format!("GET /api/events?since=0&kind=alert HTTP/1.1\r\nhost: {}\r\n\r\n", outrigger.admin);
    let said = crate::support::raw(outrigger.admin, head.as_bytes(), Duration::from_millis(500)).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn each_part_of_the_health_has_its_word() {
    let simulator = Simulator::start(&[]);
    let folder = std::env::temp_dir().join(format!("outrigger-e2e-{}-health", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ledger = folder.join("ledger.db").display().to_string();
    let settings = [("COST__LEDGER_PATH", ledger.as_str()), ("HEALTH__DISK_SHARE", "0.000001")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let until = Instant::now() + Duration::from_secs(10);
    let health = loop {
        let health = get(outrigger.admin, "/healthz").await.json();
        if health["parts"]["disk"]["status"] != "off" {
            break health;
        }
        assert!(Instant::now() < until, "{health:#}");
        sleep(Duration::from_millis(50)).await;
    };
    let parts = health["parts"].as_object().unwrap();
    let names: Vec<_> = parts.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["backends", "breaker", "disk", "errors", "gpu", "memory", "model_file", "redis", "semantic_cache"]
    );
    assert_eq!((&parts["disk"]["status"], &health["status"]), (&json!("degraded"), &json!("degraded")), "{health:#}");
    for name in ["backends", "breaker", "errors", "memory"] {
        assert_eq!(parts[name]["status"], "ok", "{health:#}");
    }
    assert!(parts["memory"]["share"].as_f64().unwrap() > 0.0);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Series of `/metrics` after so many requests, each of another tenant and another model.
async fn series_after(requests: usize) -> (usize, usize) {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[LIMITS, ("TELEMETRY__ACCESS_LOG", "false")]).await;
    let series = async |outrigger: &Outrigger| get(outrigger.admin, "/metrics").await.text().lines().count();
    let ask = |from: usize, to: usize| {
        let address = outrigger.address;
        let workers = (0..16).map(move |worker| async move {
            let mut client = crate::support::Client::http1(address).await;
            for number in (from + worker..to).step_by(16) {
                let key = format!("Bearer {number}");
                let body = format!(r#"{{"model":"m{number}","messages":[],"sim":{{"tokens":1}}}}"#);
                let request = crate::support::request(address, CHAT, &[("authorization", &key)], body);
                let response = client.send(request).await.unwrap();
                assert_eq!(crate::support::read(response).await.status, 200);
            }
        });
        join_all(workers)
    };
    ask(0, requests / 4).await;
    let some = series(&outrigger).await;
    ask(requests / 4, requests).await;
    // What is told a little later is there too.
    sleep(Duration::from_secs(1)).await;
    let metrics = get(outrigger.admin, "/api/performance/metrics").await.json();
    let (models, calls) = (metrics["models"].as_object().unwrap(), metrics["calls"].as_array().unwrap());
    assert!(models.len() <= 129 && calls.len() <= 129, "{} models, {} calls", models.len(), calls.len());
    (some, series(&outrigger).await)
}

#[tokio::test]
async fn tenants_and_models_do_not_make_series_without_end() {
    let (some, all) = series_after(4000).await;
    assert!(all <= some + 50, "{some} lines after a quarter, {all} after all");
}

#[tokio::test]
#[ignore = "minutes of load; the short one is in every run"]
async fn a_hundred_thousand_tenants_do_not_make_series_without_end() {
    let (some, all) = series_after(100_000).await;
    eprintln!("{some} lines after 25000 tenants and models, {all} after 100000");
    assert!(all <= some + 50, "{some} lines after a quarter, {all} after all");
}
