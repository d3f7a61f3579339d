//! What becomes of backends when the settings change while they answer.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use tokio::time::{advance, sleep};

use super::*;
use crate::breaker::{Breaker, Reach};
use crate::testing::{Script, Scripted, Step, ask};
use crate::{Ask, Body, Call, Chain, Refusal, Reply};

struct Several(Vec<Scripted>);

#[async_trait]
impl crate::Backend for Several {
    async fn call(&self, ask: &Ask, call: &Call) -> Result<Reply, Refusal> {
        self.0[call.backend].call(ask, call).await
    }
}

/// Backends at their places, under one fleet after another.
struct House {
    fleet: Arc<Fleet>,
    backends: Vec<Scripted>,
}

fn backend(name: &str) -> Backend {
    Backend { address: format!("http://{name}"), ..Backend::named(name) }
}

fn config(text: &str) -> Config {
    serde_json::from_str(text).expect("good settings")
}

impl House {
    fn new(room: &str, names: &[&str], scripts: &[Script]) -> Self {
        let members: Vec<_> = names.iter().map(|name| backend(name)).collect();
        let fleet = Fleet::new(&config(room), &members, &opentelemetry::global::meter("test"));
        House { fleet, backends: scripts.iter().map(|script| Scripted::new([script.clone()])).collect() }
    }

    fn renew(&mut self, room: &str, backends: &[(usize, Backend)]) {
        let next = self.fleet.renewed(&config(room), backends);
        next.take_over();
        self.fleet = next;
    }

    fn chain(&self) -> Chain {
        let room = Arc::new(Breaker::new(self.fleet.clone()));
        Chain::new(vec![room], Arc::new(Several(self.backends.clone())), &opentelemetry::global::meter("test"))
    }

    async fn ask(&self, body: &str) -> Result<Reply, Refusal> {
        self.chain().run(Arc::new(ask(body))).await
    }

    fn calls(&self) -> Vec<usize> {
        self.backends.iter().map(Scripted::calls).collect()
    }
}

const PLAIN: &str = r#"{"model":"m"}"#;
const STREAM: &str = r#"{"model":"m","stream":true}"#;

fn ok() -> Script {
    Script::Whole(StatusCode::OK, "{}")
}

fn fails() -> Script {
    Script::Whole(StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":{}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_open_stays_open_by_the_rules_of_before_and_closes_by_those_of_now() {
    let mut house = House::new(r#"{"retries":0}"#, &["a"], &[fails()]);
    for _ in 0..5 {
        house.ask(PLAIN).await.ok();
    }
    let state = |house: &House| house.fleet.report(Some("a")).expect("it is there")["state"].clone();
    assert_eq!(state(&house), "open");
    house
        .renew(r#"{"retries":0,"consecutive_failures":50,"success_ratio":0.0,"window_secs":60}"#, &[(0, backend("a"))]);
    assert_eq!(state(&house), "open", "it does not forget");
    assert!(house.ask(PLAIN).await.is_err());
    assert_eq!(house.calls(), [5], "nothing more was asked of it");
    advance(Duration::from_secs(2)).await;
    house.backends = vec![Scripted::new([ok()])];
    house.ask(PLAIN).await.expect("the probe");
    assert_eq!(state(&house), "closed");
    house.backends = vec![Scripted::new([fails()])];
    for _ in 0..20 {
        house.ask(PLAIN).await.ok();
    }
    assert_eq!(house.fleet.report(Some("a")).expect("it is there")["models"][0]["window"]["failures_in_a_row"], 20);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_taken_away_ends_what_it_is_at_and_gets_nothing_new() {
    let steps = vec![Step::Data("one"), Step::Wait(Duration::from_secs(10)), Step::Data("[DONE]")];
    let mut house = House::new("{}", &["a", "b"], &[Script::Stream(steps), ok()]);
    house.renew("{}", &[(0, backend("a"))]);
    let reply = house.ask(STREAM).await.expect("a stream");
    let Body::Events(mut events) = reply.body else { panic!("a stream was expected") };
    events.next().await.expect("a piece").expect("a good one");
    let core = Arc::downgrade(&house.fleet.at(0).expect("it is there").core);
    house.renew("{}", &[(1, backend("b"))]);
    assert!(house.fleet.named("a").is_none());
    for _ in 0..5 {
        house.ask(PLAIN).await.expect("the other one answers");
    }
    assert_eq!(house.calls(), [1, 5]);
    assert_eq!(core.upgrade().expect("the stream holds it").in_flight.load(std::sync::atomic::Ordering::Relaxed), 1);
    while let Some(batch) = events.next().await {
        batch.expect("the stream goes on to its end");
    }
    drop(events);
    assert!(core.upgrade().is_none(), "nothing holds on to what is known of it");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stays_keeps_what_is_in_flight_and_one_that_moves_begins_anew() {
    let steps = vec![Step::Data("one"), Step::Wait(Duration::from_secs(10)), Step::Data("[DONE]")];
    let mut house = House::new("{}", &["a"], &[Script::Stream(steps)]);
    let reply = house.ask(STREAM).await.expect("a stream");
    let in_flight = |house: &House| house.fleet.report(Some("a")).expect("it is there")["in_flight"].clone();
    house.renew(r#"{"admission":{"max_limit":1,"initial_limit":1}}"#, &[(0, Backend { weight: 3.0, ..backend("a") })]);
    assert_eq!(in_flight(&house), 1);
    let refused = house.ask(STREAM).await.err().expect("one is in flight, and no more may be");
    assert_eq!(refused.reason, crate::Reason::Overloaded);
    house.renew("{}", &[(0, Backend { address: "http://elsewhere".to_owned(), ..backend("a") })]);
    assert_eq!(in_flight(&house), 0, "the one elsewhere is at nothing");
    drop(reply);
    house.renew("{}", &[(0, backend("a"))]);
    assert_eq!(in_flight(&house), 0);
}

#[tokio::test(start_paused = true)]
async fn rules_models_and_fallbacks_are_those_of_now() {
    let mut house = House::new("{}", &["a", "b"], &[ok(), ok()]);
    house.ask(PLAIN).await.expect("either answers");
    let only = |name: &str, model: &str| Backend {
        models: vec![serde_json::from_str(&format!("{model:?}")).expect("a name")],
        ..backend(name)
    };
    house.renew("{}", &[(0, only("a", "x")), (1, only("b", "y"))]);
    assert!(house.ask(PLAIN).await.is_err(), "nobody serves it any more");
    house.renew(r#"{"fallbacks":[{"model":"m","to":["y"]}]}"#, &[(0, only("a", "x")), (1, only("b", "y"))]);
    let before = house.calls();
    house.ask(PLAIN).await.expect("another model stands in for it");
    assert_eq!(house.calls(), [before[0], before[1] + 1]);
}

/// Counts how often each is asked how it is.
#[derive(Default)]
struct Asked(std::sync::Mutex<Vec<(usize, String)>>);

#[async_trait]
impl Reach for Asked {
    async fn get(&self, backend: usize, path: &str, _within: Duration) -> Result<(StatusCode, Bytes), String> {
        self.0.lock().unwrap().push((backend, path.to_owned()));
        Ok((StatusCode::OK, Bytes::new()))
    }
}

impl Asked {
    fn take(&self) -> Vec<(usize, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn checks_begin_end_and_change_with_the_settings() {
    let checked = |name: &str, path: &str| Backend { health_path: Some(path.to_owned()), ..backend(name) };
    let mut house = House::new("{}", &["a"], &[ok()]);
    let asked = Arc::new(Asked::default());
    #[expect(clippy::disallowed_methods, reason = "a test owns its tasks: they end with its runtime")]
    let running = tokio::spawn(house.fleet.clone().run(asked.clone()));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(asked.take(), [], "it has no path to be asked for");
    house.renew("{}", &[(0, checked("a", "/up")), (1, checked("b", "/health"))]);
    sleep(Duration::from_millis(1)).await;
    let mut first = asked.take();
    first.sort();
    assert_eq!(first, [(0, "/up".to_owned()), (1, "/health".to_owned())], "at once");
    house.renew(r#"{"health_interval_ms":1000}"#, &[(1, checked("b", "/health"))]);
    sleep(Duration::from_secs(11)).await;
    let then = asked.take();
    assert!(then.iter().all(|(backend, _)| *backend == 1), "the one that is gone is not asked: {then:?}");
    assert!((8..=13).contains(&then.len()), "every second by now: {}", then.len());
    drop(house);
    sleep(Duration::from_secs(2)).await;
    assert!(running.is_finished(), "without a fleet there is nobody to ask");
}
