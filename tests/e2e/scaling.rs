//! Scaling as it is told: sidecars that come and go on one Redis, requests that wait, and what relieved them.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::redis::Redis;
use crate::support::{Outrigger, Simulator, ask, chat, get, post, raw};

/// What `/api/events` has told of scaling so far.
async fn told(outrigger: &Outrigger) -> Vec<Value> {
    let head = format!("GET /api/events?since=0&kind=scaling HTTP/1.1\r\nhost: {}\r\n\r\n", outrigger.admin);
    let said = raw(outrigger.admin, head.as_bytes(), Duration::from_millis(300)).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

async fn until_told(outrigger: &Outrigger, wanted: Value) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let told = told(outrigger).await;
        if told.contains(&wanted) {
            return;
        }
        assert!(Instant::now() < until, "{wanted} was never told: {told:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn sidecars_that_come_and_go_are_counted_by_those_who_stay() {
    let (simulator, redis) = (Simulator::start(&[]), Redis::start().await);
    let url = redis.url();
    // A busy machine is no Redis that is lost.
    let settings = [("REDIS__URL", url.as_str()), ("REDIS__TIMEOUT_MS", "1000")];
    let stays = Outrigger::before(&simulator, &settings).await;
    stays.until_metric("outrigger_scaling_replicas{of=\"outrigger\"}", 1.0).await;
    stays.until_metric("outrigger_scaling_replicas{of=\"backend\"}", 1.0).await;
    let changes = |direction| format!("outrigger_scaling_events_total{{direction=\"{direction}\",of=\"outrigger\"}}");
    for direction in ["up", "down"] {
        assert_eq!(stays.metric(&changes(direction)).await, Some(0.0), "{direction} is there before its first");
    }
    let mut goes = Outrigger::before(&simulator, &settings).await;
    stays.until_metric("outrigger_scaling_replicas{of=\"outrigger\"}", 2.0).await;
    assert_eq!(stays.metric(&changes("up")).await, Some(1.0));
    goes.until_metric("outrigger_scaling_replicas{of=\"outrigger\"}", 2.0).await;
    assert_eq!(goes.metric(&changes("up")).await, Some(0.0), "to who came it was so from the start");

    goes.process.signal(15);
    assert_eq!(goes.process.ended(Duration::from_secs(30)).await, Some(0));
    stays.until_metric("outrigger_scaling_replicas{of=\"outrigger\"}", 1.0).await;
    assert_eq!(stays.metric(&changes("down")).await, Some(1.0));

    // One that is killed says nothing, and is missed.
    let mut killed = Outrigger::before(&simulator, &settings).await;
    stays.until_metric("outrigger_scaling_replicas{of=\"outrigger\"}", 2.0).await;
    killed.process.signal(9);
    killed.process.ended(Duration::from_secs(10)).await;
    stays.until_metric("outrigger_scaling_replicas{of=\"outrigger\"}", 1.0).await;

    let change = |direction, from, to| json!({ "what": "replicas", "of": "outrigger", "direction": direction, "from": from, "to": to });
    let (up, down) = (change("up", 1, 2), change("down", 2, 1));
    assert_eq!(told(&stays).await, [up.clone(), down.clone(), up, down], "each once and in its order");
    let report = get(stays.admin, "/api/scaling").await.json();
    assert_eq!(report["replicas"], json!({ "outrigger": 1, "backend": 1 }), "{report:#}");
    assert_eq!(report["latest"].as_array().map(Vec::len), Some(4), "{report:#}");
    assert!(report["latest"][0]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "the newest first: {report:#}");
}

#[tokio::test]
async fn requests_that_wait_are_pressure_and_a_model_server_that_comes_is_named_with_the_relief() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&[]));
    let [one, other] = [&first, &second].map(|simulator| format!("http://{}", simulator.address));
    let outrigger = Outrigger::start(&[
        ("BACKENDS__0__NAME", "first"),
        ("BACKENDS__0__URL", one.as_str()),
        ("BACKENDS__1__NAME", "second"),
        ("BACKENDS__1__URL", other.as_str()),
        ("BREAKER__ADMISSION__ADAPTIVE", "false"),
        ("BREAKER__ADMISSION__INITIAL_LIMIT", "1"),
        ("BREAKER__ADMISSION__QUEUE_TIMEOUT_MS", "120000"),
    ])
    .await;
    let order = async |order: &str| {
        let path = format!("/api/backends/second/{order}");
        assert_eq!(post(outrigger.admin, &path, &[], "").await.status, StatusCode::OK);
    };
    order("drain").await;
    outrigger.until_metric("outrigger_scaling_replicas{of=\"backend\"}", 1.0).await;
    let held = "outrigger_scaling_held_requests{by=\"outrigger\"}";
    assert_eq!(outrigger.metric(held).await, Some(0.0));
    assert_eq!(outrigger.metric("outrigger_scaling_waited_total").await, Some(0.0), "it is there before the first");

    let asking = (0..5).map(|seed| {
        let mut body = chat(json!({ "ttft_ms": 2_000, "tokens": 1 }));
        body["seed"] = seed.into();
        ask(outrigger.address, body)
    });
    let seeing = async {
        outrigger.until_metric(held, 4.0).await;
        outrigger.until_metric("outrigger_scaling_pressure", 1.0).await;
        let report = get(outrigger.admin, "/api/scaling").await.json();
        assert_eq!(report["pressure"]["state"], "on", "{report:#}");
        assert_eq!(report["pressure"]["scaled"], "nothing", "{report:#}");
        order("auto").await;
    };
    let (answers, ()) = tokio::join!(join_all(asking), seeing);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "who waits is answered in the end");

    let relief = |part| format!("outrigger_scaling_relief_duration_seconds_{part}{{scaled=\"backend\"}}");
    outrigger.until_metric(&relief("count"), 1.0).await;
    outrigger.until_metric("outrigger_scaling_replicas{of=\"backend\"}", 2.0).await;
    // Four waited, one after the other: the last began after eight seconds.
    let lasted = outrigger.metric(&relief("sum")).await.unwrap();
    assert!((6.0..60.0).contains(&lasted), "{lasted} s");
    assert_eq!(outrigger.metric("outrigger_scaling_waited_total").await, Some(4.0));
    assert_eq!(outrigger.metric("outrigger_scaling_refused_total").await, Some(0.0));
    assert_eq!(outrigger.metric("outrigger_scaling_pressure").await, Some(0.0));
    until_told(&outrigger, json!({ "what": "replicas", "of": "backend", "direction": "up", "from": 1, "to": 2 })).await;
    let told = told(&outrigger).await;
    let reliefs: Vec<_> = told.iter().filter(|told| told["what"] == "relief").collect();
    assert_eq!(reliefs.len(), 1, "{told:?}");
    assert_eq!(reliefs[0]["scaled"], "backend", "{told:?}");
    let after = reliefs[0]["after_ms"].as_f64().unwrap() / 1e3;
    assert!((after - lasted).abs() < 0.01, "the event and the histogram say the same: {after} and {lasted}");
}

#[tokio::test]
async fn who_is_refused_for_want_of_room_is_counted_for_whoever_scales() {
    let simulator = Simulator::start(&[]);
    let settings = [
        ("BREAKER__ADMISSION__ADAPTIVE", "false"),
        ("BREAKER__ADMISSION__INITIAL_LIMIT", "1"),
        ("BREAKER__ADMISSION__QUEUE", "0"),
    ];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let slow = ask(outrigger.address, chat(json!({ "ttft_ms": 4_000, "tokens": 1 })));
    let refused = async {
        outrigger.until_metric("outrigger_backend_in_flight", 1.0).await;
        let ends = Instant::now() + Duration::from_secs(3);
        let mut count = 0_u32;
        while Instant::now() < ends {
            let mut body = chat(json!({}));
            body["seed"] = count.into();
            assert_eq!(ask(outrigger.address, body).await.status, StatusCode::SERVICE_UNAVAILABLE);
            count += 1;
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(outrigger.metric("outrigger_scaling_refused_total").await, Some(f64::from(count)));
        outrigger.until_metric("outrigger_scaling_pressure", 1.0).await;
    };
    let (answer, ()) = tokio::join!(slow, refused);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(outrigger.metric("outrigger_scaling_waited_total").await, Some(0.0), "nobody could wait");
}
