//! What becomes of charges when limits change while requests are in flight.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::advance;

use super::*;
use crate::Tenant;
use crate::rate_limit::{Demand, Generation, Output, Permit};

fn config(limits: &str) -> Config {
    serde_json::from_str(&format!(r#"{{"limits":[{limits}]}}"#)).expect("good limits")
}

fn limiter(limits: &str) -> Arc<Limiter> {
    let meter = opentelemetry::global::meter("test");
    Limiter::new(&config(limits), Names::default(), None, &meter).expect("good limits")
}

fn renew(before: &Arc<Limiter>, limits: &str) -> Arc<Limiter> {
    let limiter = before.renewed(&config(limits), Names::default()).expect("good limits");
    limiter.take_over();
    limiter
}

async fn ask(limiter: &Limiter, tokens: u64) -> Option<Permit> {
    let generation = Generation { model: Some("m"), user: None, input: tokens, output: Output::Asked(0) };
    let headers = HeaderMap::new();
    let demand = Demand { tenant: Tenant::of(b"t"), generation: Some(generation), headers: &headers };
    limiter.admit(&demand).await.ok()
}

async fn admitted(limiter: &Limiter, count: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..count {
        admitted += usize::from(ask(limiter, 1).await.is_some());
    }
    admitted
}

async fn used(limiter: &Limiter) -> Vec<(String, u64, u64)> {
    let report = limiter.report(None).await.expect("a report");
    let row = |row: &serde_json::Value| {
        let number = |key: &str| row[key].as_u64().unwrap_or_default();
        (row["limit"].as_str().unwrap_or_default().to_owned(), number("used"), number("reserved"))
    };
    report["accounts"].as_array().expect("rows").iter().map(row).collect()
}

const TEN: &str = r#"{"name":"rpm","amount":10,"window":"1m"}"#;

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_halved_counts_what_was_charged_before() {
    let before = limiter(TEN);
    assert_eq!(admitted(&before, 6).await, 6);
    advance(Duration::from_secs(30)).await;
    let now = renew(&before, &TEN.replace("10", "5"));
    assert_eq!(admitted(&now, 1).await, 0, "six of five are used");
    advance(Duration::from_secs(31)).await;
    assert_eq!(admitted(&now, 10).await, 5, "a window after the charges it holds the new amount, and no more");
    let now = renew(&now, TEN);
    assert_eq!(admitted(&now, 10).await, 5, "five of ten are used");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_in_flight_is_settled_where_later_requests_look() {
    let tokens = r#"{"name":"tpm","unit":"tokens","amount":100,"window":"1m"}"#;
    let before = limiter(&format!(r#"{tokens},{{"name":"open","unit":"concurrent","amount":1}}"#));
    let mut in_flight = ask(&before, 60).await.expect("room");
    // The list is in another order, and longer.
    let rpm = r#"{"name":"rpm","amount":100,"window":"1m"}"#;
    let now = renew(&before, &format!(r#"{{"name":"open","unit":"concurrent","amount":1}},{rpm},{tokens}"#));
    assert!(ask(&now, 1).await.is_none(), "one is in flight");
    in_flight.spent.input = 20;
    drop(in_flight);
    let second = ask(&now, 80).await.expect("20 of 100 tokens were used, and none is in flight");
    let mut standings = used(&now).await;
    standings.sort();
    assert_eq!(
        standings,
        [("open".to_owned(), 1, 0), ("rpm".to_owned(), 1, 0), ("tpm".to_owned(), 100, 80)],
        "each is its own limit's"
    );
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_another_window_or_scope_begins_anew_and_the_old_one_is_forgotten() {
    let before = limiter(TEN);
    assert_eq!(admitted(&before, 10).await, 10);
    let now = renew(&before, &TEN.replace("1m", "1h"));
    assert_eq!(admitted(&now, 20).await, 10, "it has counted nothing yet");
    assert_eq!(used(&now).await, [("rpm".to_owned(), 10, 0)], "the other's accounts are gone");
    let none = renew(&now, "");
    assert!(!none.has_limits() && admitted(&none, 50).await == 50);
    let again = renew(&none, TEN);
    assert_eq!(admitted(&again, 20).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_limit_keeps_its_charges_when_another_begins_to_count_tenants_together() {
    let before = limiter(TEN);
    assert_eq!(admitted(&before, 7).await, 7);
    let now = renew(&before, &format!(r#"{TEN},{{"name":"all","amount":1000,"window":"1m","scope":"everyone"}}"#));
    assert_eq!(admitted(&now, 10).await, 3, "seven of ten are used");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_renewals_leave_nothing_behind() {
    let first = limiter(TEN);
    let mut now = first.clone();
    for round in 0..1000 {
        now = renew(&now, &TEN.replace("rpm", &format!("rpm-{}", round % 7)));
        assert_eq!(admitted(&now, 1).await, 1);
    }
    assert_eq!(now.ledger.len(), 1, "the accounts of limits that are no more");
    assert_eq!((Arc::strong_count(&now), Arc::strong_count(&first)), (1, 1), "nobody holds on to any of them");
}
