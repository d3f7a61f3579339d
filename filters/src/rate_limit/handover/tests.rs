use std::sync::mpsc::{Receiver, channel};

use http::HeaderMap;
use tokio::time::{Duration, advance};

use super::*;
use crate::rate_limit::limit::Config;
use crate::rate_limit::permit::{Permit, Spent};
use crate::rate_limit::rule::{Demand, Generation, Output};
use crate::tenants::Names;

fn limiter(limits: &str) -> Arc<Limiter> {
    let config: Config = serde_json::from_str(&format!(r#"{{"limits":[{limits}]}}"#)).unwrap();
    Limiter::new(&config, Names::default(), None, &opentelemetry::global::meter("test")).unwrap()
}

async fn admit(limiter: &Limiter, output: u64) -> Option<Permit> {
    let generation = Generation { model: Some("m"), user: None, input: 10, output: Output::Asked(output) };
    let headers = HeaderMap::new();
    let demand = Demand { tenant: Tenant::of(b"t"), generation: Some(generation), headers: &headers };
    limiter.admit(&demand).await.ok()
}

/// What the first knows goes over as it would between processes.
fn hand_over(first: &Limiter, second: &Limiter) -> Receiver<News> {
    let (sender, news) = channel();
    let state = first.hand_over(Box::new(move |news| sender.send(news).unwrap()));
    let packed = postcard::to_allocvec(&state).unwrap();
    second.inherit(postcard::from_bytes(&packed).unwrap());
    news
}

async fn used(limiter: &Limiter) -> (u64, u64) {
    let report = limiter.report(None).await.unwrap();
    let row = &report["accounts"][0];
    (row["used"].as_u64().unwrap(), row["reserved"].as_u64().unwrap())
}

const RPM: &str = r#"{"name":"rpm","amount":10,"window":"1m"}"#;
const TPM: &str = r#"{"name":"tpm","unit":"tokens","amount":1000,"window":"1m"}"#;

#[tokio::test(start_paused = true)]
async fn a_window_goes_on_where_it_was() {
    let (first, second) = (limiter(RPM), limiter(RPM));
    for _ in 0..6 {
        assert!(admit(&first, 1).await.is_some());
    }
    advance(Duration::from_secs(40)).await;
    hand_over(&first, &second);
    let mut admitted = 0;
    while admit(&second, 1).await.is_some() {
        admitted += 1;
    }
    assert_eq!(admitted, 4, "ten in the minute, whichever process admits them");
    advance(Duration::from_secs(21)).await;
    let mut later = 0;
    while admit(&second, 1).await.is_some() {
        later += 1;
    }
    assert_eq!(later, 6, "what was charged a minute ago has left, and no more");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_settled_where_it_is_counted_now() {
    let (first, second) = (limiter(TPM), limiter(TPM));
    let mut before = admit(&first, 490).await.unwrap();
    let news = hand_over(&first, &second);
    assert_eq!(used(&second).await, (500, 500), "what it holds has come over");
    let mut late = admit(&first, 190).await.unwrap();
    second.hear(news.try_recv().expect("what is admitted late is told"));
    assert_eq!(used(&second).await, (700, 700));
    before.spent = Spent { input: 10, output: 20 };
    drop(before);
    late.spent = Spent { input: 10, output: 290 };
    drop(late);
    news.try_iter().for_each(|news| second.hear(news));
    assert_eq!(used(&second).await, (330, 0), "each is charged what it took");
    let rest = admit(&second, 660).await;
    assert!(rest.is_some() && admit(&second, 1).await.is_none(), "and the rest is free, and no more");
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_count_until_they_end() {
    const OPEN: &str = r#"{"name":"open","unit":"concurrent","amount":2}"#;
    let (first, second) = (limiter(OPEN), limiter(OPEN));
    let held = admit(&first, 1).await.unwrap();
    let news = hand_over(&first, &second);
    let own = admit(&second, 1).await.unwrap();
    assert!(admit(&second, 1).await.is_none(), "two are in flight, of two processes");
    drop(held);
    news.try_iter().for_each(|news| second.hear(news));
    assert!(admit(&second, 1).await.is_some(), "one has ended in the other process");
    drop(own);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_another_now_begins_anew() {
    let first = limiter(RPM);
    for _ in 0..10 {
        assert!(admit(&first, 1).await.is_some());
    }
    let second = limiter(r#"{"name":"rpm","amount":10,"window":"2m"}"#);
    hand_over(&first, &second);
    assert!(admit(&second, 1).await.is_some(), "another window has charges of its own");
    let third = limiter(r#"{"name":"rpm","amount":12,"window":"1m"}"#);
    hand_over(&first, &third);
    let mut admitted = 0;
    while admit(&third, 1).await.is_some() {
        admitted += 1;
    }
    assert_eq!(admitted, 2, "another amount is one of the same charges");
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_told_to_nobody() {
    let (first, second) = (limiter(TPM), limiter(TPM));
    let held = admit(&first, 490).await.unwrap();
    let news = hand_over(&first, &second);
    first.take_back();
    drop(held);
    assert!(news.try_recv().is_err());
    assert_eq!(used(&first).await, (0, 0), "and counts here as ever");
}
