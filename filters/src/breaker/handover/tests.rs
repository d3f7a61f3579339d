use std::sync::Arc;

use tokio::time::advance;

use super::*;
use crate::breaker::config::{self, Config};
use crate::breaker::gate::{Outcome, Phase};

fn fleet() -> Arc<Fleet> {
    let backend = |name: &str| config::Backend {
        name: name.to_owned(),
        models: crate::models::Models::all(),
        aliases: Vec::new(),
        weight: 1.0,
        tier: 0,
        own_key: true,
        health_path: None,
        metrics: false,
        kv_tokens: None,
        address: name.to_owned(),
    };
    Fleet::new(&Config::default(), &[backend("a"), backend("b")], &opentelemetry::global::meter("test"))
}

fn lane(fleet: &Fleet, backend: &str) -> Arc<Lane> {
    fleet.named(backend).unwrap().lane("m")
}

fn fail(lane: &Lane, times: usize) {
    for _ in 0..times {
        let now = Instant::now();
        let pass = lane.gate.enter(now).0.expect("it is closed");
        lane.gate.settle(pass, Outcome::Fault, now, || true);
    }
}

fn pass_over(first: &Fleet, second: &Fleet) {
    let packed = postcard::to_allocvec(&first.hand_over()).unwrap();
    second.inherit(postcard::from_bytes(&packed).unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stays_open_for_what_is_left() {
    let (first, second) = (fleet(), fleet());
    fail(&lane(&first, "a"), 5);
    let until = lane(&first, "a").gate.shut_until(Instant::now()).expect("five faults in a row open it");
    advance(Duration::from_millis(400)).await;
    pass_over(&first, &second);
    let (open, other) = (lane(&second, "a"), lane(&second, "b"));
    assert_eq!(open.gate.shut_until(Instant::now()), Some(until), "for as long as it was to be");
    assert_eq!(other.gate.phase(Instant::now()), Phase::Closed, "and the other one is well");
    tokio::time::sleep_until(until).await;
    assert!(open.gate.enter(Instant::now()).0.is_ok(), "then it is probed");
}

#[tokio::test(start_paused = true)]
async fn faults_in_a_row_are_counted_on() {
    let (first, second) = (fleet(), fleet());
    fail(&lane(&first, "a"), 4);
    pass_over(&first, &second);
    let inherited = lane(&second, "a");
    assert_eq!(inherited.gate.phase(Instant::now()), Phase::Closed);
    fail(&inherited, 1);
    assert_eq!(inherited.gate.phase(Instant::now()), Phase::Open, "the fifth fault is the fifth");
}

#[tokio::test(start_paused = true)]
async fn pauses_orders_and_checks_go_over() {
    let (first, second) = (fleet(), fleet());
    let (now, tenant) = (Instant::now(), Tenant::of(b"t"));
    lane(&first, "a").known.cooling.pause(None, Duration::from_secs(9), now);
    lane(&first, "b").known.cooling.pause(Some(tenant), Duration::from_secs(7), now);
    first.obey(first.named("b").unwrap(), Override::Draining);
    first.named("a").unwrap().set_healthy(false);
    pass_over(&first, &second);
    assert_eq!(lane(&second, "a").known.cooling.for_all(now), Some(now + Duration::from_secs(9)));
    assert_eq!(lane(&second, "b").known.cooling.until(&tenant, now), Some(now + Duration::from_secs(7)));
    assert_eq!(second.named("b").unwrap().order(), Override::Draining);
    assert!(!second.named("a").unwrap().is_healthy());
}
