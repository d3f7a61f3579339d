//! Limits hold: over several sidecars, through cancels, crashes and the loss of Redis.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::redis::Redis;
use crate::support::{Answer, CHAT, Client, Outrigger, Simulator, command, get, post, request};

const KEY: (&str, &str) = ("authorization", "Bearer sk-1");

fn body(number: usize) -> String {
    json!({ "model": "sim", "max_tokens": 4, "messages": [{ "role": "user", "content": format!("{number}") }] })
        .to_string()
}

async fn sidecars(count: usize, simulator: &Simulator, redis: &Redis, limits: &str) -> Vec<Outrigger> {
    let url = redis.url();
    let settings = [("REDIS__URL", url.as_str()), ("RATE_LIMIT__LIMITS", limits), ("REDIS__TIMEOUT_MS", "2000")];
    let mut sidecars = Vec::new();
    for _ in 0..count {
        sidecars.push(Outrigger::before(simulator, &settings).await);
    }
    for sidecar in &sidecars {
        until_health(sidecar, |redis| redis["status"] == "ok" && redis["sidecars"] == count).await;
    }
    sidecars
}

/// Waits until `/healthz` says so of Redis.
async fn until_health(sidecar: &Outrigger, good: impl Fn(&Value) -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let health = get(sidecar.admin, "/healthz").await.json();
        if good(&health["parts"]["redis"]) {
            return;
        }
        assert!(Instant::now() < until, "it never came to that: {health}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends `count` different requests to each sidecar at once; how many got each status.
async fn flood(sidecars: &[Outrigger], count: usize) -> (usize, usize, Vec<Answer>) {
    let mut tasks = Vec::new();
    for (place, sidecar) in sidecars.iter().enumerate() {
        for number in 0..count {
            let address = sidecar.address;
            tasks
                .push(tokio::spawn(async move { post(address, CHAT, &[KEY], body(place * 1_000_000 + number)).await }));
        }
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    (with(200), with(429), answers)
}

/// What the first account of the limit says.
async fn account(sidecar: &Outrigger, limit: &str) -> Value {
    let report = get(sidecar.admin, "/api/limits").await.json();
    let rows = report["accounts"].as_array().unwrap().clone();
    rows.into_iter().find(|row| row["limit"] == limit).unwrap_or_else(|| panic!("{limit} is not in {report}"))
}

async fn until_account(sidecar: &Outrigger, limit: &str, good: impl Fn(&Value) -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        let row = account(sidecar, limit).await;
        if good(&row) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came to that: {row}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_sidecars_hold_one_limit_together() {
    let (simulator, redis) = (Simulator::start(&[]), Redis::start().await);
    let sidecars = sidecars(3, &simulator, &redis, r#"[{ name = "rpm", amount = 25, window = "10m" }]"#).await;
    let (admitted, refused, answers) = flood(&sidecars, 40).await;
    assert_eq!((admitted, refused), (25, 95));
    assert_eq!(simulator.stats().await["started"], 25, "what is refused never reaches the backend");
    let refusal = answers.iter().find(|answer| answer.status == 429).unwrap();
    let error = &refusal.json()["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!("rate_limit_exceeded"), &json!("requests")));
    assert!(error["message"].as_str().unwrap().contains("`rpm`"), "the limit is named: {error}");
    assert_eq!(refusal.header("x-ratelimit-remaining-requests"), "0");
    let after: u64 = refusal.header("retry-after").parse().unwrap();
    assert!((570..=615).contains(&after), "ten minutes, within a sub-bucket: {after}");
    assert_eq!(account(&sidecars[2], "rpm").await["used"], 25, "each of them knows");
}

#[tokio::test]
async fn a_limit_without_redis_is_exact_and_told_in_each_apis_words() {
    let simulator = Simulator::start(&[]);
    let limits = r#"[{ name = "rpm", amount = 3, window = "1h" }]"#;
    let outrigger = Outrigger::before(&simulator, &[("RATE_LIMIT__LIMITS", limits)]).await;
    let first = post(outrigger.address, CHAT, &[KEY], body(1)).await;
    assert_eq!(
        (first.header("x-ratelimit-limit-requests"), first.header("x-ratelimit-remaining-requests")),
        ("3", "2")
    );
    assert_eq!(first.header("ratelimit-policy"), "\"rpm\";q=3;w=3600");
    assert_eq!(get(outrigger.address, "/v1/models").await.status, 200, "another tenant, who shows no key");
    let listed = Client::http1(outrigger.address)
        .await
        .send(
            http::Request::get("/v1/models").header("host", "x").header(KEY.0, KEY.1).body(Default::default()).unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(listed.headers()["x-ratelimit-remaining-requests"], "1", "a passed request counts");
    post(outrigger.address, CHAT, &[KEY], body(2)).await;
    let refused = post(outrigger.address, CHAT, &[KEY], body(3)).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "3600"));
    let message = json!({ "model": "sim", "max_tokens": 4, "messages": [{ "role": "user", "content": "x" }] });
    let refused = post(outrigger.address, "/v1/messages", &[("x-api-key", "sk-1")], message.to_string()).await;
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error", "the same key, in Anthropic's words");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_stream_had_reserved_is_free_at_once() {
    let (simulator, redis) = (Simulator::start(&[]), Redis::start().await);
    let limits = r#"[{ name = "tpm", unit = "tokens", amount = 1000, window = "10m" }]"#;
    let sidecars = sidecars(1, &simulator, &redis, limits).await;
    let stream = json!({ "model": "sim", "stream": true, "max_tokens": 500, "sim": { "gap_ms": 50 },
        "messages": [{ "role": "user", "content": "hello" }] });
    let mut client = Client::http1(sidecars[0].address).await;
    let mut answer =
        client.send(request(sidecars[0].address, CHAT, &[KEY], stream.to_string())).await.unwrap().into_body();
    for _ in 0..3 {
        answer.frame().await.unwrap().unwrap();
    }
    assert!(account(&sidecars[0], "tpm").await["reserved"].as_u64().unwrap() > 500);
    drop((answer, client));
    until_account(&sidecars[0], "tpm", |row| row["reserved"] == 0 && row["used"].as_u64().unwrap() < 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sidecars_reservations_are_free_after_their_time_and_never_before() {
    let (simulator, redis) = (Simulator::start(&[]), Redis::start().await);
    let limits = r#"[{ name = "flight", unit = "concurrent", amount = 2 },
        { name = "tpm", unit = "tokens", amount = 1000, window = "10m" }]"#;
    let url = redis.url();
    let settings = [
        ("REDIS__URL", url.as_str()),
        ("RATE_LIMIT__LIMITS", limits),
        ("RATE_LIMIT__RESERVATION_SECS", "5"),
        ("REDIS__TIMEOUT_MS", "2000"),
    ];
    let (dying, living) =
        (Outrigger::before(&simulator, &settings).await, Outrigger::before(&simulator, &settings).await);
    until_health(&dying, |redis| redis["sidecars"] == 2).await;
    until_health(&living, |redis| redis["sidecars"] == 2).await;
    let mut answers = Vec::new();
    for number in 0..2 {
        let stream = json!({ "model": "sim", "stream": true, "max_tokens": 400, "sim": { "gap_ms": 100 },
            "messages": [{ "role": "user", "content": format!("{number}") }] });
        let mut client = Client::http1(dying.address).await;
        let answer = client.send(request(dying.address, CHAT, &[KEY], stream.to_string())).await.unwrap();
        assert_eq!(answer.status(), 200);
        answers.push((client, answer));
    }
    // Longer than a reservation's time: while its sidecar lives it is renewed.
    sleep(Duration::from_secs(7)).await;
    assert_eq!(post(living.address, CHAT, &[KEY], body(1)).await.status, 429, "held by the living");
    dying.process.signal(9);
    let killed = Instant::now();
    while post(living.address, CHAT, &[KEY], body(2)).await.status == 429 {
        assert!(killed.elapsed() < Duration::from_secs(20), "never free again");
        sleep(Duration::from_millis(50)).await;
    }
    // It was last renewed a third of its time before the kill, or a little more on a busy machine.
    assert!(killed.elapsed() > Duration::from_secs(2), "free after {:?}, before its time", killed.elapsed());
    let tokens = account(&living, "tpm").await;
    assert!(tokens["used"].as_u64().unwrap() < 100, "the tokens too: {tokens}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_redis_degrades_and_is_told_what_it_missed() {
    let (simulator, redis) = (Simulator::start(&[]), Redis::start().await);
    let limits = r#"[{ name = "rpm", amount = 30, window = "10m" }]"#;
    let sidecars = sidecars(3, &simulator, &redis, limits).await;
    let (admitted, ..) = flood(&sidecars, 4).await;
    assert_eq!(admitted, 12);
    let address = redis.address;
    drop(redis);
    for sidecar in &sidecars {
        until_health(sidecar, |redis| redis["status"] == "degraded").await;
    }
    let (alone, refused, answers) = flood(&sidecars, 20).await;
    assert_eq!(alone + refused, 60, "nothing fails");
    // Each parts what was left when it last heard of it, which was not at the same moment.
    assert!((12..=24).contains(&alone), "{alone}: the rest of the limit, parted among three");
    assert!(answers.iter().all(|answer| answer.header("x-outrigger-degraded") == "redis"));
    let redis = Redis::at(address).await;
    for sidecar in &sidecars {
        until_health(sidecar, |redis| redis["status"] == "ok").await;
    }
    let (admitted, refused, answers) = flood(&sidecars, 10).await;
    assert_eq!(admitted + refused, 30, "nothing fails");
    let room = 30_usize.saturating_sub(12 + alone);
    // A machine too busy to tell in time may let a few in.
    assert!(admitted <= room + 3, "{admitted} of {room}: the new Redis was told what it could not know");
    assert!(answers.iter().all(|answer| answer.header("x-outrigger-degraded").is_empty()));
    until_account(&sidecars[0], "rpm", |row| row["used"].as_u64() >= Some((12 + alone + admitted) as u64)).await;
    drop(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_says_what_holds_while_redis_is_lost() {
    let simulator = Simulator::start(&[]);
    for (policy, status) in [("open", 200), ("closed", 503), ("local", 200)] {
        let limits = format!(r#"[{{ name = "rpm", amount = 1, window = "1h", when_redis_lost = "{policy}" }}]"#);
        // Nobody listens there.
        let settings = [("REDIS__URL", "redis://127.0.0.1:9"), ("RATE_LIMIT__LIMITS", limits.as_str())];
        let outrigger = Outrigger::before(&simulator, &settings).await;
        let first = post(outrigger.address, CHAT, &[KEY], body(1)).await;
        assert_eq!((first.status.as_u16(), first.header("x-outrigger-degraded")), (status, "redis"), "{policy}");
        let second = post(outrigger.address, CHAT, &[KEY], body(2)).await.status.as_u16();
        assert_eq!(second, if policy == "local" { 429 } else { status }, "{policy}");
    }
}

#[tokio::test]
async fn floods_are_refused_before_their_bodies_are_read() {
    let simulator = Simulator::start(&[]);
    let settings = [("RATE_LIMIT__GUARD__TENANT_PER_SECOND", "1"), ("RATE_LIMIT__GUARD__BURST", "5")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let mut refused = None;
    for number in 0..50 {
        let answer = post(outrigger.address, CHAT, &[KEY], body(number)).await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("fifty at once are not five");
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(post(outrigger.address, CHAT, &[("authorization", "Bearer sk-2")], body(0)).await.status, 200);
}

#[test]
fn settings_of_limits_are_checked_by_file_and_key() {
    let limits = |limits: &str| {
        let environment = [("OUTRIGGER_BACKEND", "http://127.0.0.1:1"), ("OUTRIGGER__RATE_LIMIT__LIMITS", limits)];
        let (code, out, err) = command(&["check"], &environment);
        (code, out + &err)
    };
    let (code, said) = limits(r#"[{ name = "rpm", amount = 0, window = "1m" }]"#);
    assert_eq!(code, 1);
    assert!(said.contains("rate_limit.limits.0.amount") && said.contains("can never be met"), "{said}");
    let (code, said) = limits(r#"[{ name = "rpm", amount = 1, window = "1m", overrides = { nobody = 5 } }]"#);
    assert!(code == 1 && said.contains("`nobody` is not in [tenants.names]"), "{said}");
    let (code, said) =
        limits(r#"[{ name = "s", amount = 1, window = "1s" }, { name = "m", amount = 61, window = "1m" }]"#);
    assert!(code == 0 && said.contains("can never be reached"), "{said}");
}
