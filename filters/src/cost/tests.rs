use std::sync::Mutex;

use async_trait::async_trait;
use futures::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::advance;

use super::books::{Backend as Terms, Parts};
use super::ledger::{Query, Sums};
use super::*;
use crate::reply::{Broken, Kind};
use crate::testing::{Script, Scripted, Step, ask};
use crate::tokens::Tokenizers;
use crate::usage::Tokens;
use crate::{Backend, Chain};

/// A scripted backend that remembers how it was called.
#[derive(Clone)]
struct Listening(Scripted, Arc<Mutex<Vec<Call>>>);

#[async_trait]
impl Backend for Listening {
    async fn call(&self, ask: &Ask, call: &Call) -> Result<Reply, Refusal> {
        self.1.lock().unwrap().push(*call);
        self.0.call(ask, call).await
    }
}

struct House {
    chain: Chain,
    books: Arc<Books>,
    backend: Listening,
}

/// One dollar for a million tokens read, two for a million written: a micro-dollar and two.
fn house(more: Value, scripts: impl IntoIterator<Item = Script>) -> House {
    let mut config = json!({ "price": [{ "model": "m", "input": 1.0, "output": 2.0 }] });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config: Config = serde_json::from_value(config).unwrap();
    let meter = opentelemetry::global::meter("test");
    let tokenizers = Arc::new(Tokenizers::new(&[]).unwrap());
    let terms = Terms { name: "local".into(), include_usage: true };
    let books = Books::new(Parts { backends: vec![terms], ..Parts::alone(&config, tokenizers, &meter) }).unwrap();
    let backend = Listening(Scripted::new(scripts), Arc::default());
    let chain = Chain::new(vec![Arc::new(Cost::new(books.clone()))], Arc::new(backend.clone()), &meter);
    House { chain, books, backend }
}

impl House {
    async fn ask(&self, body: &str) -> Result<Reply, Refusal> {
        self.chain.run(Arc::new(ask(body))).await
    }

    /// What the ledger holds once all is counted.
    async fn paid(&self) -> Sums {
        let books = self.books.clone();
        tokio::task::spawn_blocking(move || {
            books.settle_all();
            let totals = books.ledger.totals(&Query::new(0, i64::MAX)).unwrap();
            totals.rows.first().map(|row| row.sums).unwrap_or_default()
        })
        .await
        .unwrap()
    }
}

const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello world"}]}"#;
const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello world"}]}"#;
/// 3 for the message, 1 for its role, 2 for its words, and 3 for the answer.
const PROMPT: u64 = 9;

fn answer(usage: &'static str) -> Script {
    Script::Whole(StatusCode::OK, usage)
}

const SAID: &str = r#"{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":10}}"#;

fn token() -> Step {
    Step::Data(r#"{"choices":[{"delta":{"content":"word"}}]}"#)
}

#[tokio::test]
async fn a_plain_answer_is_paid_by_the_backends_word_and_says_what_it_cost() {
    let house = house(json!({}), [answer(SAID)]);
    let reply = house.ask(PLAIN).await.unwrap();
    assert_eq!(reply.headers[charge::HEADER], "0.00012", "100 and twice 10 micro-dollars");
    assert!(!reply.headers.contains_key(ESTIMATED));
    let charged = *reply.charge.unwrap().get().unwrap();
    assert_eq!((charged.cost.unwrap().nanos(), charged.source), (120_000, Source::Measured));
    let paid = house.paid().await;
    assert_eq!((paid.requests, paid.estimated, paid.tokens.input, paid.tokens.output), (1, 0, 100, 10));
    assert_eq!(paid.cost.nanos(), 120_000);
}

#[tokio::test]
async fn a_stream_is_asked_for_its_usage_and_the_client_who_did_not_ask_never_sees_it() {
    let script = || Script::Stream(vec![token(), token(), Step::Data(SAID), Step::Data("[DONE]")]);
    let house = house(json!({}), [script()]);
    let reply = house.ask(STREAM).await.unwrap();
    let charge = reply.charge.clone().unwrap();
    let Body::Events(mut events) = reply.body else { panic!("a stream") };
    let mut kinds = Vec::new();
    while let Some(batch) = events.next().await {
        kinds.extend(batch.unwrap().into_iter().map(|event| event.kind));
        if kinds.last() == Some(&Kind::Last) {
            assert!(charge.get().is_some(), "it is known when the last event is on its way");
        }
    }
    assert_eq!(kinds, [Kind::Data, Kind::Data, Kind::Usage, Kind::Last]);
    let paid = house.paid().await;
    assert_eq!((paid.tokens.input, paid.tokens.output, paid.estimated), (100, 10, 0));
    let asked = STREAM.replace("\"stream\":true", r#""stream":true,"stream_options":{"include_usage":true}"#);
    let Body::Events(events) = house.ask(&asked).await.unwrap().body else { panic!("a stream") };
    let batches: Vec<_> = events.collect().await;
    assert!(
        batches.into_iter().flat_map(Result::unwrap).all(|event| event.kind != Kind::Usage),
        "asked for, it is his"
    );
    let calls = house.backend.1.lock().unwrap();
    assert_eq!(calls.iter().map(|call| call.include_usage).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn what_no_backend_says_is_counted_and_marked() {
    let house = house(json!({}), [Script::Stream(vec![token(), token(), token(), Step::Data("[DONE]")])]);
    let Body::Events(events) = house.ask(STREAM).await.unwrap().body else { panic!("a stream") };
    events.collect::<Vec<_>>().await;
    let paid = house.paid().await;
    assert_eq!((paid.requests, paid.estimated), (1, 1));
    assert_eq!((paid.tokens.input, paid.tokens.output), (PROMPT, 3));
}

#[tokio::test]
async fn a_plain_answer_without_usage_says_that_it_was_counted() {
    let house = house(json!({}), [answer(r#"{"choices":[{"message":{"content":"hello world"}}]}"#)]);
    let reply = house.ask(PLAIN).await.unwrap();
    assert_eq!(reply.headers[ESTIMATED], "true");
    assert_eq!(house.paid().await.tokens.input, PROMPT);
}

#[tokio::test]
async fn who_leaves_pays_for_what_was_read_and_written_until_then() {
    let endless = Script::Stream(vec![token(), token(), Step::Wait(Duration::from_secs(999))]);
    let house = house(json!({}), [endless, Script::late(Duration::from_secs(999), "{}")]);
    let Body::Events(mut events) = house.ask(STREAM).await.unwrap().body else { panic!("a stream") };
    events.next().await;
    events.next().await;
    drop(events);
    let paid = house.paid().await;
    assert_eq!((paid.abandoned, paid.estimated, paid.tokens.input, paid.tokens.output), (1, 1, PROMPT, 2));
    let waiting = house.ask(PLAIN);
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
    let paid = house.paid().await;
    assert_eq!((paid.abandoned, paid.tokens.input, paid.tokens.output), (2, 2 * PROMPT, 2), "before its head, too");
}

#[tokio::test]
async fn a_broken_stream_is_paid_as_far_as_it_came() {
    let house = house(json!({}), [Script::Stream(vec![token(), Step::Break(Broken::BackendCut)])]);
    let Body::Events(events) = house.ask(STREAM).await.unwrap().body else { panic!("a stream") };
    events.collect::<Vec<_>>().await;
    let paid = house.paid().await;
    assert_eq!((paid.broken, paid.tokens.input, paid.tokens.output), (1, PROMPT, 1));
}

#[tokio::test]
async fn what_was_never_sent_or_was_refused_costs_nothing() {
    let scripts = [
        Script::Refuse(Reason::Unreachable),
        Script::Whole(StatusCode::TOO_MANY_REQUESTS, r#"{"error":{"message":"no"}}"#),
        Script::Whole(StatusCode::INTERNAL_SERVER_ERROR, "no"),
        Script::Refuse(Reason::BackendCut),
    ];
    let house = house(json!({}), scripts);
    for _ in 0..3 {
        if let Ok(reply) = house.ask(PLAIN).await {
            assert!(reply.charge.is_none() && !reply.headers.contains_key(charge::HEADER));
        }
    }
    assert_eq!(house.paid().await, Sums::default());
    house.ask(PLAIN).await.err().unwrap();
    let paid = house.paid().await;
    assert_eq!((paid.broken, paid.tokens.input), (1, PROMPT), "cut off after it was sent, it was read");
}

fn budget(hard: bool) -> Value {
    // A call of 9 tokens read and at most 10 written costs 29 micro-dollars.
    json!({ "budgets": [{ "name": "b", "amount_usd": 0.00005, "period": "total", "scope": "tenant", "hard": hard }] })
}

const BOUNDED: &str = r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hello world"}]}"#;

#[tokio::test]
async fn a_hard_budget_refuses_before_the_money_is_gone_and_asks_nobody() {
    let used = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":10}}"#;
    let house = house(budget(true), [answer(used)]);
    house.ask(BOUNDED).await.unwrap();
    let refusal = house.ask(BOUNDED).await.err().unwrap();
    assert_eq!(refusal.reason.status(), StatusCode::TOO_MANY_REQUESTS);
    let body: Value = serde_json::from_str(&refusal.reason.body(None)).unwrap();
    assert_eq!(body["error"]["code"], "insufficient_quota");
    assert_eq!(body["error"]["type"], "insufficient_quota");
    assert_eq!(refusal.headers.unwrap()["x-should-retry"], "false");
    assert_eq!(house.backend.0.calls(), 1);
    assert_eq!(house.books.budgets(None).unwrap()["budgets"][0]["accounts"][0]["spent_usd"], 0.000_029);
}

#[tokio::test]
async fn money_that_a_failed_call_held_is_free_again() {
    let house = house(budget(true), [Script::Refuse(Reason::Unreachable)]);
    for _ in 0..20 {
        assert_eq!(house.ask(BOUNDED).await.err().unwrap().reason, Reason::Unreachable);
    }
    let accounts = &house.books.budgets(None).unwrap()["budgets"][0]["accounts"][0];
    assert_eq!((&accounts["spent_usd"], &accounts["reserved_usd"]), (&json!(0.0), &json!(0.0)));
}

#[tokio::test]
async fn a_soft_budget_refuses_nobody() {
    let house = house(budget(false), [answer(SAID)]);
    for _ in 0..3 {
        house.ask(BOUNDED).await.unwrap();
    }
}

#[tokio::test]
async fn a_model_without_a_price_is_counted_or_refused_as_the_settings_say() {
    let unknown = PLAIN.replace("\"m\"", "\"nobody-knows-it\"");
    let allowing = house(json!({}), [answer(SAID)]);
    let reply = allowing.ask(&unknown).await.unwrap();
    assert!(!reply.headers.contains_key(charge::HEADER), "no price is not the price 0");
    let paid = allowing.paid().await;
    assert_eq!((paid.unpriced, paid.tokens.input, paid.cost.nanos()), (1, 100, 0));
    let refusing = house(json!({ "unpriced": "refuse" }), [answer(SAID)]);
    let refusal = refusing.ask(&unknown).await.err().unwrap();
    assert_eq!((refusal.reason, refusing.backend.0.calls()), (Reason::Unpriced, 0));
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_paid_by_the_second_and_calls_share_it() {
    let price = json!({ "price": [{ "model": "m", "gpu_second": 0.001 }] });
    let house = house(price, [Script::late(Duration::from_secs(10), SAID)]);
    let (first, other) = tokio::join!(house.ask(PLAIN), house.ask(PLAIN));
    for reply in [first, other] {
        assert_eq!(reply.unwrap().headers[charge::HEADER], "0.005", "half of ten seconds");
    }
    advance(Duration::from_secs(100)).await;
    assert_eq!(house.ask(PLAIN).await.unwrap().headers[charge::HEADER], "0.01", "idle time is not paid");
}

#[tokio::test]
async fn what_was_saved_is_booked_apart_and_never_as_spent() {
    use crate::charge::{Saver, Savings};
    let house = house(json!({}), [answer(SAID)]);
    let tokens = Tokens { input: 100, output: 10, ..Tokens::default() };
    house.books.saved(Saver::Dedup, &ask(PLAIN), &tokens, 3);
    house.books.saved(Saver::Cache, &ask(PLAIN), &tokens, 1);
    assert_eq!(house.paid().await, Sums::default());
    let books = house.books.clone();
    let costs = tokio::task::spawn_blocking(move || books.costs(&report::Asked::default()).unwrap()).await.unwrap();
    assert_eq!(costs["saved"]["dedup"]["requests"], 3);
    assert_eq!(costs["saved"]["dedup"]["cost_nanousd"], 360_000);
    assert_eq!(costs["saved"]["cache"]["cost_nanousd"], 120_000);
    assert_eq!(costs["total"]["requests"], 0);
}
