//! Kept answers, end to end: in this process, on disk, in a real Redis, and by their meaning with the real model.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::redis::Redis;
use crate::support::{Answer, CHAT, Client, Outrigger, Simulator, UNBROKEN, ask, get, post, read, request};

const ON: (&str, &str) = ("SEMANTIC_CACHE__MODE", "on");

fn question(text: &str) -> Value {
    json!({ "model": "sim", "messages": [{ "role": "user", "content": text }], "sim": { "tokens": 8 } })
}

fn streamed(text: &str) -> Value {
    let mut body = question(text);
    body["stream"] = true.into();
    body
}

fn word(answer: &Answer) -> &str {
    answer.header("x-cache")
}

async fn steered(outrigger: &Outrigger, control: &str, body: Value) -> Answer {
    post(outrigger.address, CHAT, &[("cache-control", control)], body.to_string()).await
}

/// The folder of the model that `make model` brings.
pub fn model() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/minilm");
    let folder = std::env::var_os("OUTRIGGER_MODEL").map_or(usual, PathBuf::from);
    assert!(folder.join("model.onnx").is_file(), "{} holds no model: `make model` brings one", folder.display());
    folder
}

/// An empty folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("outrigger-e2e-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Waits until a question is answered with this word: what is learnt behind an answer takes a moment.
async fn until(outrigger: &Outrigger, body: Value, expected: &str) -> Answer {
    for _ in 0..400 {
        let answer = steered(outrigger, "only-if-cached", body.clone()).await;
        if word(&answer) == expected {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{body} was never answered with {expected}: {}", get(outrigger.admin, "/api/cache/stats").await.text());
}

#[tokio::test]
async fn the_same_question_does_not_reach_the_backend_again() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    let first = ask(outrigger.address, question("What is a canoe?")).await;
    assert_eq!((first.status, word(&first)), (StatusCode::OK, "MISS"));
    for mut client in [Client::http1(outrigger.address).await, Client::http2(outrigger.address).await] {
        let again = client.ask(outrigger.address, question("What is a canoe?").to_string()).await;
        assert_eq!((word(&again), &again.body), ("HIT", &first.body));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert!(again.header("cache-status").starts_with("outrigger; hit; ttl="), "{}", again.header("cache-status"));
        assert!(again.headers.contains_key("age") && again.headers.contains_key("x-request-id"));
    }
    let other =
        post(outrigger.address, CHAT, &[("authorization", "Bearer sk-2")], question("What is a canoe?").to_string());
    assert_eq!(word(&other.await), "MISS", "another tenant asks for himself");
    assert_eq!(simulator.stats().await["started"], 2);
    outrigger.until_metric("outrigger_cache_hits_total{", 2.0).await;
}

#[tokio::test]
async fn a_stream_is_given_again_byte_for_byte_and_in_the_other_form() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    let first = ask(outrigger.address, streamed("Tell me of boats")).await;
    let again = ask(outrigger.address, streamed("Tell me of boats")).await;
    assert_eq!((word(&first), word(&again)), ("MISS", "HIT"));
    assert_eq!((&first.body, again.complete), (&again.body, true));
    let plain = ask(outrigger.address, question("Tell me of boats")).await;
    assert_eq!(word(&plain), "HIT");
    let said = plain.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let pieces = first
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|data| {
            let chunk: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
            chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
        })
        .collect::<String>();
    assert_eq!(said, pieces);
    assert_eq!(simulator.stats().await["started"], 1);
}

#[tokio::test]
async fn a_stream_that_the_backend_cuts_is_never_given_again() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[&[ON], &UNBROKEN[..]].concat()).await;
    for fault in ["cut", "cut_mid_event", "cut_before_done", "bad_sse"] {
        let mut body = streamed(&format!("Tell me of {fault}"));
        body["sim"] = json!({ "tokens": 8, "fault": fault, "at": 4 });
        let first = ask(outrigger.address, body.clone()).await;
        assert_eq!(word(&first), "MISS", "{fault}");
        let again = ask(outrigger.address, body).await;
        assert_eq!(word(&again), "MISS", "{fault}: {}", again.text());
    }
}

#[tokio::test]
async fn an_outage_is_answered_with_what_is_known_and_said_to_be_stale() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON, ("SEMANTIC_CACHE__TTL_SECS", "1")]).await;
    let first = ask(outrigger.address, question("What floats?")).await;
    drop(simulator);
    sleep(Duration::from_millis(1_200)).await;
    let stale = ask(outrigger.address, question("What floats?")).await;
    assert_eq!((stale.status, word(&stale), &stale.body), (StatusCode::OK, "STALE", &first.body));
    let unknown = ask(outrigger.address, question("What sinks?")).await;
    assert_eq!(unknown.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn requests_say_how_they_may_be_answered() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    let refused = steered(&outrigger, "only-if-cached", question("Who?")).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (StatusCode::GATEWAY_TIMEOUT, &"not_cached".into()));
    assert_eq!(refused.header("x-should-retry"), "false");
    for (control, expected) in
        [("no-store", "BYPASS"), ("max-age=60", "MISS"), ("only-if-cached", "HIT"), ("no-cache", "MISS"), ("", "HIT")]
    {
        assert_eq!(word(&steered(&outrigger, control, question("Who?")).await), expected, "{control}");
    }
    let mut sampled = question("Who?");
    sampled["temperature"] = 0.9.into();
    assert_eq!(word(&ask(outrigger.address, sampled).await), "BYPASS");
}

#[tokio::test]
async fn a_follower_of_a_flight_is_told_so_and_a_fresh_answer_is_not_had_on_it() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    let asked = async {
        let two = tokio::join!(ask(outrigger.address, question("Now?")), ask(outrigger.address, question("Now?")));
        [two.0, two.1]
    };
    let fresh = steered(&outrigger, "no-cache", question("Now?"));
    let both = async { tokio::join!(asked, fresh) };
    let (two, fresh) = crate::support::held(&simulator, &outrigger, 3, both).await;
    let mut words = two.each_ref().map(word);
    words.sort_unstable();
    assert_eq!((words, word(&fresh)), (["COALESCED", "MISS"], "MISS"));
    assert_eq!(simulator.stats().await["started"], 2);
}

#[tokio::test]
async fn a_kept_answer_costs_no_tokens() {
    let simulator = Simulator::start(&[]);
    let limit = r#"[{name="tpm",unit="tokens",amount=100000,window="1m"}]"#;
    let outrigger = Outrigger::before(&simulator, &[ON, ("RATE_LIMIT__LIMITS", limit)]).await;
    let remaining = |answer: &Answer| answer.header("x-ratelimit-remaining-tokens").parse::<u64>().unwrap();
    ask(outrigger.address, question("How much?")).await;
    let before = remaining(&ask(outrigger.address, question("How much?")).await);
    let mut last = before;
    for _ in 0..5 {
        let answer = ask(outrigger.address, question("How much?")).await;
        assert_eq!(word(&answer), "HIT");
        last = remaining(&answer);
    }
    assert!(before.abs_diff(last) <= 1, "{before} tokens were left before five hits, and {last} after");
}

#[tokio::test]
async fn the_operator_sees_and_invalidates_what_is_kept() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    let tagged = [("x-outrigger-cache-tags", "manual, v2"), ("authorization", "Bearer sk-1")];
    let kept = || post(outrigger.address, CHAT, &tagged, question("Which screw?").to_string());
    kept().await;
    let hit = kept().await;
    let key = hit.header("cache-status").split('"').nth(1).unwrap().to_owned();
    let shown = get(outrigger.admin, &format!("/api/cache/entries/{key}")).await;
    assert_eq!(
        (&shown.json()["tags"], shown.text().contains("screw")),
        (&json!(["manual", "v2"]), false),
        "{}",
        shown.text()
    );
    for path in ["/api/cache/stats", "/api/kv-cache/stats"] {
        let stats = get(outrigger.admin, path).await.json();
        assert_eq!((&stats["hits"], &stats["misses"], &stats["kept"]), (&1.into(), &1.into(), &1.into()), "{stats}");
        assert!(
            stats["saved"]["output_tokens"].as_u64() > Some(0)
                && stats["places"]["memory"]["bytes"].as_u64() > Some(100)
        );
    }
    let purge = |body: &str| post(outrigger.admin, "/api/cache/purge", &[], body.to_owned());
    for (wrong, status) in [("{}", 400), ("{", 400), (r#"{"tags":"x"}"#, 400), (r#"{"tenant":"nobody"}"#, 404)] {
        let answer = purge(wrong).await;
        assert_eq!(answer.status.as_u16(), status, "{wrong}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string());
    }
    assert_eq!(purge(r#"{"tag":"other"}"#).await.json()["purged_here"], 0);
    assert_eq!(word(&kept().await), "HIT");
    let purged = purge(r#"{"tag":"manual"}"#).await.json();
    assert_eq!((&purged["purged_here"], &purged["everywhere"]), (&1.into(), &true.into()));
    assert_eq!(word(&kept().await), "MISS");
    let mut client = Client::http1(outrigger.admin).await;
    let delete = |path: String| Request::delete(path).header("host", "admin").body(Full::default()).unwrap();
    let gone = read(client.send(delete(format!("/api/cache/entries/{key}"))).await.unwrap()).await;
    assert_eq!(gone.json()["purged_here"], 1, "{}", gone.text());
    assert_eq!(get(outrigger.admin, &format!("/api/cache/entries/{key}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn answers_on_disk_outlive_a_restart_and_a_kill() {
    let simulator = Simulator::start(&[]);
    let folder = folder("disk");
    let path = folder.display().to_string();
    let settings = [ON, ("SEMANTIC_CACHE__DISK_PATH", path.as_str()), ("SEMANTIC_CACHE__DISK_BYTES", "67108864")];
    let first = {
        let mut outrigger = Outrigger::before(&simulator, &settings).await;
        let first = ask(outrigger.address, streamed("What lasts?")).await;
        outrigger.process.signal(15);
        assert_eq!(outrigger.process.ended(Duration::from_secs(60)).await, Some(0));
        first
    };
    {
        let outrigger = Outrigger::before(&simulator, &settings).await;
        let again = ask(outrigger.address, streamed("What lasts?")).await;
        assert_eq!((word(&again), &again.body), ("HIT", &first.body), "after a restart");
        assert!(again.header("cache-status").contains("exact disk"), "{}", again.header("cache-status"));
        let spelt = ask(outrigger.address, streamed("what lasts")).await;
        assert_eq!(word(&spelt), "HIT", "by its text, too");
        outrigger.process.signal(9);
    }
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let again = ask(outrigger.address, streamed("What lasts?")).await;
    assert_eq!((word(&again), &again.body), ("HIT", &first.body), "after a kill");
    assert_eq!(simulator.stats().await["started"], 1);
    drop(outrigger);
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn what_one_sidecar_learns_all_know_and_what_one_invalidates_is_gone_for_all() {
    let (simulator, redis) = (Simulator::start(&[]), Redis::start().await);
    let url = format!("redis://{}", redis.address);
    let model = model().display().to_string();
    let settings = [
        ON,
        ("REDIS__URL", url.as_str()),
        ("REDIS__TIMEOUT_MS", "200"),
        ("SEMANTIC_CACHE__LOAD_WAIT_MS", "2000"),
        ("SEMANTIC_CACHE__DEADLINE_MS", "5000"),
        ("SEMANTIC_CACHE__MODEL_PATH", model.as_str()),
    ];
    let [one, other] = [Outrigger::before(&simulator, &settings).await, Outrigger::before(&simulator, &settings).await];
    let first = ask(one.address, question("How do I reset my password?")).await;
    assert_eq!(word(&first), "MISS");
    let exact = until(&other, question("How do I reset my password?"), "HIT").await;
    assert_eq!(exact.body, first.body);
    until(&other, question("how do i reset my password"), "HIT").await;
    let near = until(&other, question("How can I reset my password?"), "SEMANTIC").await;
    assert_eq!(near.body, first.body);
    let purged = post(one.admin, "/api/cache/purge", &[], r#"{"model":"sim"}"#).await.json();
    assert_eq!(purged["everywhere"], true, "{purged}");
    for _ in 0..400 {
        if steered(&other, "only-if-cached", question("How do I reset my password?")).await.status != StatusCode::OK {
            assert_eq!(simulator.stats().await["started"], 1);
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the other sidecar never heard of it");
}

#[tokio::test]
async fn a_question_that_means_the_same_is_answered_and_one_that_does_not_is_not() {
    let simulator = Simulator::start(&[]);
    let model = model().display().to_string();
    let settings = [ON, ("SEMANTIC_CACHE__DEADLINE_MS", "5000"), ("SEMANTIC_CACHE__MODEL_PATH", model.as_str())];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let first = ask(outrigger.address, question("How do I reset my password?")).await;
    let near = until(&outrigger, question("How can I reset my password?"), "SEMANTIC").await;
    assert_eq!(near.body, first.body);
    let similarity: f32 = near.header("x-cache-similarity").parse().unwrap();
    assert!((0.7..=1.0).contains(&similarity), "{similarity}");
    let streamed = until(&outrigger, streamed("How can I reset my password?"), "SEMANTIC").await;
    assert!(streamed.text().ends_with("data: [DONE]\n\n"));
    ask(outrigger.address, question("How many grams are in 5 kg of flour?")).await;
    until(&outrigger, question("how many grams are in 5 kg of flour"), "HIT").await;
    for trap in [
        "How many grams are in 6 kg of flour?",
        "How do I not reset my password?",
        "How do I reset my account?",
        "Why do I reset my password?",
    ] {
        let answer = ask(outrigger.address, question(trap)).await;
        assert_eq!(word(&answer), "MISS", "{trap}: {}", answer.header("cache-status"));
    }
    let turns = |before: &str| {
        json!({ "model": "sim", "sim": { "tokens": 8 }, "messages": [{ "role": "user", "content": before },
            { "role": "assistant", "content": "Yes." }, { "role": "user", "content": "How do I reset my password?" }] })
    };
    ask(outrigger.address, turns("Is it blue?")).await;
    assert_eq!(word(&ask(outrigger.address, turns("Is it red?")).await), "MISS", "another conversation");
}

#[tokio::test]
async fn the_mode_shadow_gives_nothing_and_counts_what_it_would_have_given() {
    let simulator = Simulator::start(&[]);
    let model = model().display().to_string();
    let settings = [
        ("SEMANTIC_CACHE__MODE", "shadow"),
        ("SEMANTIC_CACHE__DEADLINE_MS", "5000"),
        ("SEMANTIC_CACHE__MODEL_PATH", model.as_str()),
    ];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    ask(outrigger.address, question("How do I reset my password?")).await;
    // What is kept is embedded behind its answer.
    outrigger.until_metric("outrigger_cache_kept_answers_total", 1.0).await;
    let embedded = async || get(outrigger.admin, "/api/cache/stats").await.json()["semantic"]["entries"] == 1;
    while !embedded().await {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(word(&ask(outrigger.address, question("How can I reset my password?")).await), "MISS");
    outrigger.until_metric("outrigger_cache_misses_total{reason=\"shadow\"", 1.0).await;
    outrigger.until_metric("outrigger_cache_shadow_answers_total{", 1.0).await;
}

#[tokio::test]
async fn without_the_model_questions_are_matched_by_their_words_and_it_is_said_once() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    ask(outrigger.address, question("Where is the key?")).await;
    assert_eq!(word(&ask(outrigger.address, question(" where is the key")).await), "HIT");
    let health = get(outrigger.admin, "/healthz").await.json();
    assert_eq!(health["parts"]["semantic_cache"]["by_meaning"], "off", "{health}");
    assert_eq!(outrigger.log().matches("not by their meaning").count(), 1);
}

#[tokio::test]
async fn vectors_are_kept_by_their_very_text() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[ON]).await;
    let body = |text: &str| json!({ "model": "sim", "input": text }).to_string();
    let embed = |text: &'static str| async {
        let mut client = Client::http1(outrigger.address).await;
        read(client.send(request(outrigger.address, "/v1/embeddings", &[], body(text))).await.unwrap()).await
    };
    assert_eq!(word(&embed("one").await), "MISS");
    assert_eq!(word(&embed("one").await), "HIT");
    assert_eq!(word(&embed("One").await), "MISS");
}
