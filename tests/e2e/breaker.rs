//! Backends that fail, stall, die and come back, behind the real binary.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, CHAT, Outrigger, Simulator, ask, chat, get, post, stream};

/// A question that nobody has asked before.
fn unlike(number: usize, mut body: Value) -> Value {
    body["messages"][0]["content"] = format!("question {number}").into();
    body
}

async fn state(outrigger: &Outrigger, place: usize) -> String {
    get(outrigger.admin, "/api/backends").await.json()["backends"][place]["state"].as_str().unwrap().to_owned()
}

async fn until_state(outrigger: &Outrigger, place: usize, wanted: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while state(outrigger, place).await != wanted {
        assert!(Instant::now() < until, "it never became {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Two simulators behind one proxy, as `first` and `second`.
async fn two(first: &Simulator, second: &Simulator, settings: &[(&str, &str)]) -> Outrigger {
    let (one, other) = (format!("http://{}", first.address), format!("http://{}", second.address));
    let places = [
        ("BACKENDS__0__NAME", "first"),
        ("BACKENDS__0__URL", one.as_str()),
        ("BACKENDS__1__NAME", "second"),
        ("BACKENDS__1__URL", other.as_str()),
    ];
    Outrigger::start(&[&places, settings].concat()).await
}

#[tokio::test]
async fn whatever_way_it_fails_it_is_left_alone_after_a_few_and_asked_again_when_it_is_well() {
    let ways = [
        json!({ "status": 500 }),
        json!({ "fault": "cut_before" }),
        json!({ "fault": "cut_head" }),
        json!({ "fault": "stall_before" }),
        json!({ "fault": "cut", "tokens": 4 }),
        json!({ "fault": "stall_after", "tokens": 4 }),
    ];
    for way in ways {
        let simulator = Simulator::start(&[]);
        let settings = [
            ("BREAKER__RETRIES", "0"),
            ("BREAKER__TTFT_TIMEOUT_MS", "300"),
            ("BREAKER__TOKEN_GAP_TIMEOUT_MS", "300"),
            ("BREAKER__OPEN_MS", "2000"),
            ("BREAKER__MAX_OPEN_MS", "2000"),
        ];
        let outrigger = Outrigger::before(&simulator, &settings).await;
        for number in 0..5 {
            ask(outrigger.address, unlike(number, stream(way.clone()))).await;
        }
        let told = get(outrigger.admin, "/api/backends/local").await.json();
        assert_eq!(told["models"][0]["why"], "consecutive_failures", "{way}: {told}");
        let refused = ask(outrigger.address, unlike(6, stream(json!({})))).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (503, &json!("backend_unavailable")));
        assert!(["1", "2"].contains(&refused.header("retry-after")), "{:?}", refused.headers);
        let health = get(outrigger.admin, "/healthz").await;
        assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &json!("unhealthy")));
        sleep(Duration::from_millis(2100)).await;
        let probe = ask(outrigger.address, unlike(7, stream(json!({})))).await;
        assert_eq!(probe.status, StatusCode::OK, "{way}: {}", probe.text());
        assert_eq!(get(outrigger.admin, "/healthz").await.json()["status"], "ok");
        assert!(outrigger.log().contains("breaker opens"), "a line for each change: {}", outrigger.log());
    }
}

#[tokio::test]
async fn one_of_two_dies_and_plain_requests_do_not_notice() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&[]));
    let outrigger = two(&first, &second, &[]).await;
    for number in 0..100 {
        assert_eq!(ask(outrigger.address, unlike(number, chat(json!({})))).await.status, StatusCode::OK);
    }
    assert!(first.stats().await["finished"].as_u64() > Some(10), "both are asked");
    drop(first);
    for number in 100..200 {
        let answer = ask(outrigger.address, unlike(number, chat(json!({})))).await;
        assert_eq!(
            (answer.status, answer.header("x-outrigger-backend")),
            (StatusCode::OK, "second"),
            "{}",
            answer.text()
        );
    }
    assert!(state(&outrigger, 0).await != "closed");
    let health = get(outrigger.admin, "/healthz").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("degraded")));
    let models = get(outrigger.address, "/v1/models").await;
    assert_eq!(models.status, StatusCode::OK, "what is passed on goes to the one that is well");
    assert!(outrigger.metric("outrigger_retries_total").await > Some(0.0));
}

#[tokio::test]
async fn a_retry_after_is_obeyed_and_the_client_is_told() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let busy = chat(json!({ "status": 429, "retry_after": "30" }));
    let first = ask(outrigger.address, unlike(1, busy)).await;
    assert_eq!((first.status.as_u16(), first.header("retry-after")), (429, "30"), "the backend's own words");
    let second = ask(outrigger.address, unlike(2, chat(json!({})))).await;
    assert_eq!((second.status.as_u16(), &second.json()["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    assert!(second.header("retry-after").parse::<u64>().is_ok_and(|wait| (25..=30).contains(&wait)));
    assert_eq!(simulator.stats().await["requests"], 1, "it was left alone");
    let told = get(outrigger.admin, "/api/backends/local").await.json();
    assert_eq!(told["models"][0]["paused_tenants"], 1, "it is the client's quota, and nobody else's: {told}");

    let soon = Simulator::start(&[]);
    let outrigger = Outrigger::before(&soon, &[]).await;
    let configured =
        post(soon.address, "/sim/config", &[], json!({ "status": 503, "retry_after": "1" }).to_string()).await;
    assert_eq!(configured.status, StatusCode::OK);
    let asked = tokio::spawn(ask(outrigger.address, unlike(3, chat(json!({})))));
    soon.until("requests", 1).await;
    post(soon.address, "/sim/config", &[], "{}").await;
    let answer = asked.await.unwrap();
    assert_eq!(
        (answer.status, answer.header("x-outrigger-attempts")),
        (StatusCode::OK, "2"),
        "a short one is waited for"
    );
}

#[tokio::test]
async fn a_client_that_shows_a_bad_key_is_told_by_the_backend_and_one_that_shows_none_of_ours_is_not() {
    let simulator = Simulator::start(&[]);
    let denied = chat(json!({ "status": 401 }));
    let outrigger = Outrigger::before(&simulator, &[]).await;
    for number in 0..10 {
        assert_eq!(ask(outrigger.address, unlike(number, denied.clone())).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(state(&outrigger, 0).await, "closed");
    let outrigger = Outrigger::before(&simulator, &[("BACKENDS__0__API_KEY_ENV", "CARGO_PKG_NAME")]).await;
    for number in 0..5 {
        let answer = ask(outrigger.address, unlike(number, denied.clone())).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (502, &json!("backend_unauthorized")));
    }
    let told = get(outrigger.admin, "/api/backends/local").await.json();
    assert_eq!((&told["state"], &told["why"]), (&json!("open"), &json!("unauthorized")));
}

#[tokio::test]
async fn an_alias_changes_the_models_name_and_no_other_byte() {
    let simulator = Simulator::start(&[]);
    let settings = [("BACKENDS__0__MODELS", "[\"llama\"]"), ("BACKENDS__0__ALIASES", "{ gpt-4o = \"llama\" }")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let body = r#"{ "temperature":1.0,"model" : "gpt-4o", "messages":[{"role":"user","content":"\u0068i"}],"sim":{"echo":true}}"#;
    let answer = post(outrigger.address, CHAT, &[], body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let expected: String =
        Sha256::digest(body.replace("gpt-4o", "llama")).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer.json()["sim"]["body_sha256"], expected.as_str());
    let other = ask(outrigger.address, json!({ "model": "other", "messages": [] })).await;
    assert_eq!((other.status.as_u16(), &other.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn another_tier_and_another_model_stand_in_and_what_they_say_is_not_kept() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&[]));
    let settings = [
        ("BACKENDS__0__MODELS", "[\"large\"]"),
        ("BACKENDS__1__MODELS", "[\"small\"]"),
        ("BREAKER__FALLBACKS", "[{ model = \"large\", to = [\"small\"] }]"),
        ("SEMANTIC_CACHE__MODE", "exact"),
    ];
    let outrigger = two(&first, &second, &settings).await;
    let question = json!({ "model": "large", "temperature": 0, "messages": [{ "role": "user", "content": "hi" }] });
    let drain = post(outrigger.admin, "/api/backends/first/drain", &[], "").await;
    assert_eq!(drain.json()["override"], "draining");
    let answer = ask(outrigger.address, question.clone()).await;
    assert_eq!(
        (answer.header("x-outrigger-degraded"), answer.header("x-outrigger-backend")),
        ("fallback_model", "second")
    );
    assert_eq!(answer.json()["model"], "small");
    let auto = post(outrigger.admin, "/api/backends/first/auto", &[], "").await;
    assert_eq!(auto.json()["override"], "auto");
    let answer = ask(outrigger.address, question).await;
    assert_eq!(
        (answer.header("x-cache"), answer.header("x-outrigger-backend")),
        ("MISS", "first"),
        "not the stand-in's answer"
    );
}

#[tokio::test]
async fn the_operators_orders_are_followed_and_unknown_ones_refused() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&[]));
    let outrigger = two(&first, &second, &[]).await;
    let order = |path: &'static str| post(outrigger.admin, path, &[], "");
    assert_eq!(order("/api/backends/first/force-open").await.status, StatusCode::OK);
    for number in 0..20 {
        assert_eq!(
            ask(outrigger.address, unlike(number, chat(json!({})))).await.header("x-outrigger-backend"),
            "second"
        );
    }
    assert_eq!(state(&outrigger, 0).await, "forced_open");
    assert_eq!(order("/api/backends/second/drain").await.status, StatusCode::OK);
    let refused = ask(outrigger.address, unlike(50, chat(json!({})))).await;
    assert_eq!(refused.status.as_u16(), 503);
    assert_eq!(order("/api/backends/none/drain").await.status, StatusCode::NOT_FOUND);
    let unknown = order("/api/backends/first/explode").await;
    assert!(unknown.status == StatusCode::NOT_FOUND && unknown.text().contains("force-open"), "{}", unknown.text());
    let foreign = post(outrigger.admin, "/api/backends/first/auto", &[("origin", "http://evil.example")], "").await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN, "a page of another site gives no orders");
    for name in ["first", "second"] {
        let path = format!("/api/backends/{name}/auto");
        assert_eq!(post(outrigger.admin, &path, &[], "").await.status, StatusCode::OK);
    }
    assert_eq!(ask(outrigger.address, unlike(51, chat(json!({})))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_sets_its_own_deadlines_and_nonsense_is_refused() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[("BREAKER__RETRIES", "0")]).await;
    let with = async |header: (&str, &str), body: Value| -> Answer {
        post(outrigger.address, CHAT, &[header], body.to_string()).await
    };
    let stalls = stream(json!({ "fault": "stall_before" }));
    let late = with(("x-outrigger-timeout-ttft-ms", "200"), stalls.clone()).await;
    assert_eq!((late.status.as_u16(), &late.json()["error"]["code"]), (504, &json!("backend_timeout")));
    let stalls_later = stream(json!({ "fault": "stall_after" }));
    let broken = with(("x-outrigger-timeout-gap-ms", "200"), stalls_later).await;
    assert!(!broken.complete && broken.text().contains("backend_stalled"), "{}", broken.text());
    let long = stream(json!({ "tokens": 1000, "gap_ms": 50 }));
    let cut = with(("x-outrigger-timeout-ms", "500"), long).await;
    assert!(!cut.complete && cut.text().contains("backend_timeout"), "{}", cut.text());
    let whole = with(("x-outrigger-timeout-ms", "200"), chat(json!({ "fault": "stall_before" }))).await;
    assert_eq!(whole.status.as_u16(), 504);
    for header in [("x-outrigger-timeout-ms", "soon"), ("x-outrigger-priority", "urgent")] {
        let refused = with(header, chat(json!({}))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{header:?}");
        assert!(refused.text().contains(header.0), "{}", refused.text());
    }
    simulator.until("active", 0).await;
    assert!(outrigger.metric("outrigger_backend_stalls_total").await == Some(1.0));
}

#[tokio::test]
async fn a_backend_that_fails_its_checks_is_left_alone_until_it_passes_them() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&[]));
    let settings = [
        ("BACKENDS__0__HEALTH_PATH", "/health"),
        ("BACKENDS__1__HEALTH_PATH", "/health"),
        ("BREAKER__HEALTH_INTERVAL_MS", "300"),
        ("BREAKER__UNHEALTHY_AFTER", "2"),
    ];
    let outrigger = two(&first, &second, &settings).await;
    first.hold();
    until_state(&outrigger, 0, "unhealthy").await;
    for number in 0..10 {
        assert_eq!(
            ask(outrigger.address, unlike(number, chat(json!({})))).await.header("x-outrigger-backend"),
            "second"
        );
    }
    first.go_on();
    until_state(&outrigger, 0, "closed").await;
    outrigger.until_logged("healthy again").await;
}

#[tokio::test]
async fn an_engines_own_metrics_are_read_and_shown() {
    let simulator = Simulator::start(&["--slots", "2"]);
    let settings = [("BREAKER__ENGINE_METRICS", "auto"), ("BREAKER__ENGINE_INTERVAL_MS", "100")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let asks: Vec<_> = (0..5)
        .map(|number| {
            tokio::spawn(ask(outrigger.address, unlike(number, stream(json!({ "tokens": 400, "gap_ms": 20 })))))
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let engine = get(outrigger.admin, "/api/backends/local").await.json()["engine"].clone();
        if engine["running"] == 2 && engine["waiting"] == 3 {
            break;
        }
        assert!(Instant::now() < until, "the engine was never seen: {engine}");
        sleep(Duration::from_millis(50)).await;
    }
    for asked in asks {
        assert_eq!(asked.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn prompts_that_begin_alike_go_to_the_same_backend() {
    let (first, second) = (Simulator::start(&[]), Simulator::start(&[]));
    let outrigger = two(&first, &second, &[("BREAKER__BALANCE", "prefix")]).await;
    let mut seen = std::collections::BTreeSet::new();
    for conversation in 0..12 {
        let mut messages =
            vec![json!({ "role": "user", "content": format!("conversation {conversation} {}", "x".repeat(3000)) })];
        let mut backends = std::collections::BTreeSet::new();
        for turn in 0..4 {
            let answer = ask(outrigger.address, json!({ "model": "m", "messages": messages })).await;
            backends.insert(answer.header("x-outrigger-backend").to_owned());
            messages.push(json!({ "role": "assistant", "content": "well" }));
            messages.push(json!({ "role": "user", "content": format!("turn {turn} {}", "y".repeat(3000)) }));
        }
        assert_eq!(backends.len(), 1, "a conversation stays where it began");
        seen.extend(backends);
    }
    assert_eq!(seen.len(), 2, "and both have something to do");
}
