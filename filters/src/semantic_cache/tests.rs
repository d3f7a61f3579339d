use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, StatusCode};
use tokio::time::advance;

use super::*;
use crate::ask::{Sharing, Tenant};
use crate::reply::kept;
use crate::tenants::Names;
use crate::testing::{Script, Scripted, Step};
use crate::tokens::Tokenizers;
use crate::{Body, Broken, Chain};

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Four."},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#;
const OTHER: &str = r#"{"id":"d","object":"chat.completion","created":2,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Five."},"finish_reason":"stop"}]}"#;

struct House {
    chain: Chain,
    cache: Arc<Cache>,
    backend: Scripted,
}

fn house(settings: &str, scripts: impl IntoIterator<Item = Script>) -> House {
    let meter = opentelemetry::global::meter("test");
    let config = serde_json::from_str(settings).expect("good settings");
    let tokenizers = Arc::new(Tokenizers::new(&[]).unwrap());
    let names = Names::from_iter([("acme".to_owned(), Tenant::of(b"acme"))]);
    let cache = Cache::new(&config, names, None, tokenizers, &meter).expect("good settings");
    let backend = Scripted::new(scripts);
    let rooms: Vec<Arc<dyn Filter>> = vec![Arc::new(SemanticCache::new(cache.clone(), Arc::new(())))];
    House { chain: Chain::new(rooms, Arc::new(backend.clone()), &meter), cache, backend }
}

/// An answer as its client sees it.
#[derive(Debug)]
struct Seen {
    word: String,
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    #[expect(dead_code, reason = "shown when a test fails")]
    broken: Option<Broken>,
}

impl House {
    async fn ask_as(&self, tenant: &str, steering: &[(&'static str, &str)], body: &str) -> Result<Seen, Refusal> {
        let mut ask = crate::testing::ask_by(tenant, Sharing::Allowed, body);
        ask.steer(steering.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect());
        let reply = self.chain.run(Arc::new(ask)).await?;
        let word = reply.headers[kept::HEADER].to_str().unwrap().to_owned();
        let (mut bytes, mut broken) = (Vec::new(), None);
        match reply.body {
            Body::Whole(whole) => bytes.extend_from_slice(&whole),
            Body::Events(mut events) => {
                while let Some(batch) = events.next().await {
                    match batch {
                        Ok(batch) => batch.iter().for_each(|event| bytes.extend_from_slice(&event.bytes)),
                        Err(why) => broken = Some(why),
                    }
                }
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        Ok(Seen { word, status: reply.status, headers: reply.headers, text, broken })
    }

    async fn ask(&self, body: &str) -> Seen {
        self.ask_as("acme", &[], body).await.expect("an answer")
    }

    async fn word(&self, body: &str) -> String {
        self.ask(body).await.word
    }
}

fn chat(text: &str, more: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]{more}}}"#)
}

fn whole(body: &'static str) -> Script {
    Script::Whole(StatusCode::OK, body)
}

fn stream(events: &[&'static str]) -> Script {
    Script::Stream(events.iter().map(|event| Step::Data(event)).collect())
}

const STREAM: [&str; 4] = [
    r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Fo"},"finish_reason":null}]}"#,
    r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"ur."},"finish_reason":null}]}"#,
    r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "[DONE]",
];

#[tokio::test(start_paused = true)]
async fn the_same_question_is_answered_from_memory() {
    let house = house("{}", [whole(ANSWER)]);
    let first = house.ask(&chat("2+2?", "")).await;
    assert_eq!((first.word.as_str(), first.text.as_str()), ("MISS", ANSWER));
    // Half a second more than what is looked for: the date and the paused clock are not read at the same instant.
    advance(Duration::from_millis(5_500)).await;
    let second = house.ask(r#"{ "messages":[{"content":"2+2?","role":"user"}], "model":"m" }"#).await;
    assert_eq!((second.word.as_str(), second.text.as_str()), ("HIT", ANSWER));
    assert_eq!((second.headers["age"].to_str().unwrap(), house.backend.calls()), ("5", 1));
    let status = second.headers["cache-status"].to_str().unwrap();
    assert!(status.starts_with("outrigger; hit; ttl=3595; key=\""), "{status}");
    assert!(status.ends_with("detail=\"exact memory\""), "{status}");
    let stats = house.cache.stats();
    assert_eq!((&stats["hits"], &stats["saved"]["output_tokens"]), (&1.into(), &2.into()), "{stats}");
}

#[tokio::test(start_paused = true)]
async fn a_question_in_other_spelling_is_the_same_question() {
    let house = house("{}", [whole(ANSWER)]);
    house.ask(&chat("What is the capital of France?", "")).await;
    let again = house.ask(&chat("  what is  the capital of France", "")).await;
    assert_eq!(again.word, "HIT");
    assert!(again.headers["cache-status"].to_str().unwrap().contains("canonical"));
    assert_eq!(house.word(&chat("What is the capital of Spain?", "")).await, "MISS");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_one_tenant_reaches_another() {
    let house = house("{}", [whole(ANSWER)]);
    for tenant in ["acme", "beta"] {
        let seen = house.ask_as(tenant, &[], &chat("2+2?", "")).await.unwrap();
        assert_eq!(seen.word, "MISS", "{tenant}");
    }
    assert_eq!(house.backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn earlier_turns_and_parameters_must_be_equal() {
    let house = house("{}", [whole(ANSWER)]);
    let turns = |before: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"{before}"}},{{"role":"assistant","content":"ok"}},{{"role":"user","content":"and now?"}}]}}"#
        )
    };
    house.ask(&turns("blue")).await;
    assert_eq!(house.word(&turns("blue")).await, "HIT");
    for other in [turns("red"), chat("and now?", ""), turns("blue").replace("\"m\"", "\"n\"")] {
        assert_eq!(house.word(&other).await, "MISS", "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_complete_answers_are_kept() {
    let cut = r#"{"choices":[{"index":0,"message":{"content":"Fo"},"finish_reason":"length"}]}"#;
    let filtered = r#"{"choices":[{"index":0,"message":{"content":""},"finish_reason":"content_filter"}]}"#;
    for script in [
        Script::Whole(StatusCode::INTERNAL_SERVER_ERROR, ANSWER),
        Script::Whole(StatusCode::BAD_REQUEST, ANSWER),
        whole(cut),
        whole(filtered),
        whole(r#"{"error":{"message":"no"}}"#),
        whole("not json"),
        stream(&STREAM[..2]),
        stream(&STREAM[..3]),
        stream(&[STREAM[0], "[DONE]"]),
        stream(&[STREAM[0], r#"{"error":{"message":"x"}}"#, STREAM[2], "[DONE]"]),
        Script::Stream(vec![Step::Data(STREAM[0]), Step::Data(STREAM[2]), Step::Break(Broken::BackendCut)]),
    ] {
        let house = house("{}", [script.clone()]);
        house.ask(&chat("2+2?", "")).await;
        assert_eq!(house.word(&chat("2+2?", "")).await, "MISS", "{script:?}");
    }
    let house = house("{}", [whole(cut)]);
    house.ask(&chat("2+2?", r#","max_tokens":1"#)).await;
    assert_eq!(house.word(&chat("2+2?", r#","max_tokens":1"#)).await, "HIT", "cut off where it was asked to be");
}

#[tokio::test(start_paused = true)]
async fn an_answer_let_go_before_its_end_is_not_kept() {
    let house = house("{}", [stream(&STREAM)]);
    let ask = || Arc::new(crate::testing::ask(&chat("2+2?", r#","stream":true"#)));
    let Body::Events(mut events) = house.chain.run(ask()).await.unwrap().body else { panic!("a stream") };
    events.next().await;
    drop(events);
    assert_eq!(house.chain.run(ask()).await.unwrap().headers[kept::HEADER], "MISS");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_replayed_byte_for_byte_and_answers_a_plain_question() {
    let house = house("{}", [stream(&STREAM)]);
    let streamed = chat("2+2?", r#","stream":true"#);
    let first = house.ask(&streamed).await;
    let again = house.ask(&streamed).await;
    assert_eq!((again.word.as_str(), &again.text), ("HIT", &first.text));
    assert_eq!(again.headers["content-type"], "text/event-stream");
    let plain = house.ask(&chat("2+2?", "")).await;
    let said: serde_json::Value = serde_json::from_str(&plain.text).unwrap();
    assert_eq!((plain.word.as_str(), &said["choices"][0]["message"]["content"]), ("HIT", &"Four.".into()));
    assert_eq!(plain.headers["content-type"], "application/json");
    assert_eq!(house.backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_plain_answer_is_streamed_to_whoever_wants_it_so() {
    let house = house("{}", [whole(ANSWER)]);
    house.ask(&chat("2+2?", "")).await;
    let streamed = house.ask(&chat("2+2?", r#","stream":true,"stream_options":{"include_usage":true}"#)).await;
    assert_eq!(streamed.word, "HIT");
    assert!(streamed.text.contains("\"content\":\"Four.\"") && streamed.text.ends_with("data: [DONE]\n\n"));
    assert!(streamed.text.contains("\"completion_tokens\":2"));
    let quiet = house.ask(&chat("2+2?", r#","stream":true"#)).await;
    assert!(quiet.word == "HIT" && !quiet.text.contains("usage"));
}

#[tokio::test(start_paused = true)]
async fn requests_steer_with_cache_control() {
    let house = house(r#"{"stale_if_error_secs":0}"#, [whole(ANSWER)]);
    let control = |value: &'static str| [("cache-control", value)];
    let word = async |value| house.ask_as("acme", &control(value), &chat("2+2?", "")).await.map(|seen| seen.word);
    let refused = word("only-if-cached").await.unwrap_err();
    assert_eq!((refused.reason.clone(), refused.reason.status().as_u16()), (Reason::NotKept, 504));
    assert_eq!(word("no-store").await.unwrap(), "BYPASS");
    assert_eq!(word("max-age=60").await.unwrap(), "MISS", "no-store has kept nothing");
    assert_eq!(word("only-if-cached").await.unwrap(), "HIT");
    advance(Duration::from_secs(30)).await;
    assert_eq!(word("max-age=29").await.unwrap(), "MISS", "too old");
    assert_eq!(word("max-age=29").await.unwrap(), "HIT", "the fresh one has taken its place");
    assert_eq!(word("no-cache").await.unwrap(), "MISS");
    assert_eq!(word("min-fresh=3601").await.unwrap(), "MISS");
    assert_eq!(word("min-fresh=3600").await.unwrap(), "HIT");
    advance(Duration::from_secs(3_700)).await;
    assert_eq!(
        word("max-stale=200").await.unwrap_or_default(),
        "MISS",
        "nothing is kept past its time without a reason"
    );
}

#[tokio::test(start_paused = true)]
async fn stale_answers_go_to_those_who_take_them() {
    let house = house("{}", [whole(ANSWER)]);
    house.ask(&chat("2+2?", "")).await;
    advance(Duration::from_secs(3_700)).await;
    let seen = house.ask_as("acme", &[("cache-control", "max-stale=200")], &chat("2+2?", "")).await.unwrap();
    assert_eq!(seen.word, "STALE");
    assert!(seen.headers["cache-status"].to_str().unwrap().contains("ttl=-100"));
    assert_eq!(house.word(&chat("2+2?", "")).await, "MISS");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_answered_with_what_is_known() {
    let broken = [Script::Refuse(Reason::Unreachable), Script::Whole(StatusCode::BAD_GATEWAY, "{}")];
    for failure in broken {
        let house = house("{}", [whole(ANSWER), failure]);
        house.ask(&chat("2+2?", "")).await;
        advance(Duration::from_secs(3_601)).await;
        let seen = house.ask(&chat("2+2?", "")).await;
        assert_eq!((seen.word.as_str(), seen.status, seen.text.as_str()), ("STALE", StatusCode::OK, ANSWER));
        let seen = house.ask_as("acme", &[("cache-control", "stale-if-error=0")], &chat("2+2?", "")).await;
        assert!(seen.map_or(true, |seen| seen.status == 502), "who wants no stale answer gets the failure");
        advance(Duration::from_secs(86_400)).await;
        let seen = house.ask_as("acme", &[], &chat("2+2?", "")).await;
        assert!(seen.map_or(true, |seen| seen.status == 502), "too old for anything");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_while_a_fresh_one_is_fetched_once() {
    let late = Script::late(Duration::from_secs(1), OTHER);
    let house = house(r#"{"stale_while_revalidate_secs":60}"#, [whole(ANSWER), late]);
    house.ask(&chat("2+2?", "")).await;
    advance(Duration::from_secs(3_601)).await;
    for _ in 0..3 {
        let seen = house.ask(&chat("2+2?", "")).await;
        assert_eq!((seen.word.as_str(), seen.text.as_str()), ("STALE", ANSWER));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = house.ask(&chat("2+2?", "")).await;
    assert_eq!((seen.word.as_str(), seen.text.as_str(), house.backend.calls()), ("HIT", OTHER, 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_use_stays_fresh_longer_if_that_is_wanted() {
    let house = house(r#"{"ttl_secs":10,"max_ttl_secs":25,"stale_if_error_secs":0}"#, [whole(ANSWER)]);
    house.ask(&chat("2+2?", "")).await;
    for (after, word) in [(9, "HIT"), (9, "HIT"), (6, "HIT"), (2, "MISS")] {
        advance(Duration::from_secs(after)).await;
        assert_eq!(house.word(&chat("2+2?", "")).await, word);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_variety_gets_it() {
    let house = house("{}", [whole(ANSWER)]);
    for (more, word) in [
        (r#","temperature":0.9"#, "BYPASS"),
        (r#","n":2"#, "BYPASS"),
        (r#","temperature":0.9,"seed":1"#, "MISS"),
        (r#","temperature":0.3"#, "MISS"),
    ] {
        for _ in 0..1 {
            assert_eq!(house.word(&chat("2+2?", more)).await, word, "{more}");
        }
    }
    let hot = chat("2+2?", r#","temperature":0.9"#);
    let willing = house.ask_as("acme", &[("cache-control", "max-age=60")], &hot).await.unwrap();
    assert_eq!(willing.word, "MISS", "who says that a kept answer will do is given one");
}

#[tokio::test(start_paused = true)]
async fn tool_calls_answer_only_the_very_same_question() {
    let call = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    let house = house("{}", [whole(call)]);
    house.ask(&chat("What is the weather in Rome?", "")).await;
    assert_eq!(house.word(&chat("What is the weather in Rome?", "")).await, "HIT");
    assert_eq!(house.word(&chat("what is the weather in Rome", "")).await, "MISS");
}

#[tokio::test(start_paused = true)]
async fn answers_are_invalidated_by_tag_tenant_model_and_key() {
    use report::Request;
    let tagged = [("x-outrigger-cache-tags", "docs, v2")];
    let one = |request: Request| async {
        let house = house("{}", [whole(ANSWER)]);
        let first = house.ask_as("acme", &tagged, &chat("2+2?", "")).await.unwrap();
        let status = first.headers["cache-status"].to_str().unwrap().to_owned();
        let key = status.split('"').nth(1).unwrap().to_owned();
        let request = if request.key.is_some() { Request { key: Some(key), ..request } } else { request };
        let purged = house.cache.purge(&request).await.unwrap();
        let word = house.ask_as("acme", &tagged, &chat("2+2?", "")).await.unwrap().word;
        (purged["purged_here"].as_u64().unwrap(), word)
    };
    let text = |text: &str| Some(text.to_owned());
    for request in [
        Request { tag: text("v2"), ..Request::default() },
        Request { tag: text("docs"), tenant: text("acme"), ..Request::default() },
        Request { tenant: text("acme"), ..Request::default() },
        Request { model: text("m"), ..Request::default() },
        Request { key: text(""), ..Request::default() },
        Request { all: true, ..Request::default() },
    ] {
        assert_eq!(one(request.clone()).await, (1, "MISS".to_owned()), "{request:?}");
    }
    assert_eq!(one(Request { tag: text("v3"), ..Request::default() }).await, (0, "HIT".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_being_made_while_it_was_invalidated_is_not_given() {
    let house = house("{}", [Script::late(Duration::from_secs(1), ANSWER)]);
    let body = chat("2+2?", "");
    let asked = house.ask(&body);
    let purged = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        house.cache.purge(&report::Request { all: true, ..Default::default() }).await.unwrap()
    };
    tokio::join!(asked, purged);
    assert_eq!(house.word(&body).await, "MISS");
}

#[tokio::test(start_paused = true)]
async fn settings_of_one_tenant_or_model_are_its_own() {
    let scopes = r#"{"scopes":[{"tenant":"acme","models":["n*"],"mode":"off"},{"tenant":"acme","ttl_secs":1}]}"#;
    let house = house(scopes, [whole(ANSWER)]);
    assert_eq!(house.word(&chat("2+2?", "").replace("\"m\"", "\"n1\"")).await, "BYPASS");
    for (tenant, expected) in [("acme", "MISS"), ("beta", "HIT")] {
        house.ask_as(tenant, &[], &chat("2+2?", "")).await.unwrap();
        advance(Duration::from_secs(2)).await;
        assert_eq!(house.ask_as(tenant, &[], &chat("2+2?", "")).await.unwrap().word, expected, "{tenant}");
    }
}

/// Whether a question was about now used to be forgotten where its answer was cut off or called a tool.
#[tokio::test(start_paused = true)]
async fn an_answer_about_now_is_soon_asked_for_anew_however_it_ended() {
    let cut = r#"{"choices":[{"index":0,"message":{"content":"Su"},"finish_reason":"length"}]}"#;
    let now = chat("What is the weather in Rome today?", r#","max_tokens":1"#);
    for (answer, body) in [(ANSWER, chat("What is the weather in Rome today?", "")), (cut, now)] {
        let house = house(r#"{"stale_if_error_secs":0}"#, [whole(answer)]);
        house.ask(&body).await;
        advance(Duration::from_secs(59)).await;
        assert_eq!(house.word(&body).await, "HIT");
        advance(Duration::from_secs(2)).await;
        assert_eq!(house.word(&body).await, "MISS", "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_larger_than_the_bound_goes_by_and_is_not_kept() {
    let house = house(r#"{"max_entry_bytes":100}"#, [whole(ANSWER)]);
    assert_eq!(house.ask(&chat("2+2?", "")).await.text, ANSWER);
    assert_eq!(house.word(&chat("2+2?", "")).await, "MISS");
}

#[test]
fn wrong_settings_are_told() {
    for (settings, key) in [
        (r#"{"threshold":1.5}"#, "threshold"),
        (r#"{"memory_bytes":10}"#, "memory_bytes"),
        (r#"{"disk_path":"/tmp/x","disk_bytes":1}"#, "disk_bytes"),
        (r#"{"model_path":"/nowhere"}"#, "model_path"),
        (r#"{"languages":["en"]}"#, "languages"),
    ] {
        let config: Config = serde_json::from_str(settings).unwrap();
        assert_eq!(config.contradiction().map(|(key, _)| key).as_deref(), Some(key), "{settings}");
    }
}
