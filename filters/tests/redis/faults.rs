//! Each way in which Redis can fail: an answer in time or none at once, no panic, and back soon after it is.

use std::time::Duration;

use outrigger_filters::rate_limit::remote::{Answer, Kind, Limit};
use outrigger_filters::store::{Config, Fault, Health, Unanswered};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::proxy::{Mode, Proxy};
use crate::server::{Server, free_port};
use crate::side::{MINUTE, Side, admitted, eventually, limit, line};

/// What a request waits at most; the bounds below are wide, since machines that run tests are busy.
const TIMEOUT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

fn config(url: &str) -> Config {
    Config { timeout_ms: TIMEOUT.as_millis() as u64, ..crate::side::config(url) }
}

fn rpm() -> Limit {
    limit("rpm", Kind::Window, 1_000_000)
}

async fn side(url: &str) -> Side {
    let side = Side::with(&config(url), MINUTE);
    side.ready().await;
    admitted(side.admit(0, vec![line(&rpm(), 1, 0)]).await);
    side
}

/// Asks until the store is down, and a while on. Every answer must come in time.
async fn goes_down(side: &Side) -> Fault {
    let begun = Instant::now();
    let mut told_at_once = 0;
    let mut slowest = Duration::ZERO;
    while told_at_once < 50 {
        let asked = Instant::now();
        let answer = side.admit(1, vec![line(&rpm(), 1, 0)]).await;
        slowest = slowest.max(asked.elapsed());
        told_at_once += u32::from(answer == Err(Unanswered::Down));
        assert!(begun.elapsed() < PATIENCE, "the fault was not noticed: {answer:?}, {:?}", side.store.health());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(slowest < TIMEOUT + Duration::from_millis(500), "a request waited {slowest:?}");
    match side.store.health() {
        Health::Down { reason, .. } => reason,
        Health::Up => panic!("requests are told that it is down, and it is up"),
    }
}

async fn comes_back(what: &str, side: &Side) {
    let begun = Instant::now();
    while side.admit(2, vec![line(&rpm(), 1, 0)]).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "after {what} it did not come back: {:?}", side.store.health());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{what}: back after {:?}", begun.elapsed());
}

#[tokio::test]
async fn refused() {
    let port = free_port();
    let side = Side::with(&config(&format!("redis://127.0.0.1:{port}")), MINUTE);
    eventually("refusal is noticed", async || {
        matches!(side.store.health(), Health::Down { reason: Fault::Refused, .. })
    })
    .await;
    assert_eq!(goes_down(&side).await, Fault::Refused);
    let mut server = Server::start_on(port, &[]).await;
    comes_back("refused", &side).await;
    server.stop();
    goes_down(&side).await;
    server.start_again().await;
    comes_back("refused again", &side).await;
}

#[tokio::test]
async fn blackholed() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port).await;
    let side = side(&proxy.url()).await;
    proxy.set(Mode::Silent);
    assert_eq!(goes_down(&side).await, Fault::Slow);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(goes_down(&side).await, Fault::Slow, "it should be down for as long as it says nothing");
    proxy.set(Mode::Pass);
    comes_back("blackholed", &side).await;
}

#[tokio::test]
async fn stopped_for_seconds() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    server.signal("STOP");
    assert_eq!(goes_down(&side).await, Fault::Slow);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(goes_down(&side).await, Fault::Slow, "it should be down for as long as it is stopped");
    server.signal("CONT");
    comes_back("stopped", &side).await;
}

#[tokio::test]
async fn an_answer_that_comes_late_is_heard_of() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    let (late, heard) = oneshot::channel();
    let call = |lease| outrigger_filters::rate_limit::remote::Call {
        lease: outrigger_filters::rate_limit::remote::Lease(lease),
        lines: vec![line(&rpm(), 1, 0)],
    };
    server.signal("STOP");
    let answer = side.remote.admit(call(1), |answer| drop(late.send(answer))).await;
    let (dropped, heard_of_dropped) = oneshot::channel();
    drop(tokio::time::timeout(TIMEOUT / 4, side.remote.admit(call(2), |answer| drop(dropped.send(answer)))).await);
    server.signal("CONT");
    assert_eq!(answer, Err(Unanswered::Slow));
    let late = tokio::time::timeout(PATIENCE, heard).await.expect("in time").expect("the late answer");
    assert!(matches!(late, Answer::Admitted { .. }), "it was charged after all: {late:?}");
    let late = tokio::time::timeout(PATIENCE, heard_of_dropped).await.expect("in time").expect("the late answer");
    assert!(matches!(late, Answer::Admitted { .. }), "nobody waited, and it was charged: {late:?}");
    assert!(side.store.health().is_up(), "a hiccup should not put it down");
}

#[tokio::test]
async fn cut_in_mid_reply() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port).await;
    let side = side(&proxy.url()).await;
    proxy.set(Mode::Cut);
    assert!(matches!(goes_down(&side).await, Fault::Cut | Fault::Refused));
    proxy.set(Mode::Pass);
    comes_back("cut", &side).await;
}

#[tokio::test]
async fn loading() {
    let mut server = Server::start(&[]).await;
    let mut pipeline = redis::pipe();
    for key in 0..2_000 {
        pipeline.set(key, "x".repeat(100)).ignore();
    }
    pipeline.exec(&mut server.connection()).expect("keys to load");
    server.say("SAVE");
    let side = side(&server.url()).await;
    server.stop();
    goes_down(&side).await;
    server
        .arguments
        .extend(["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"].map(Into::into));
    server.start_again().await;
    eventually("that it is loading", async || {
        matches!(side.store.health(), Health::Down { reason: Fault::Loading, .. })
    })
    .await;
    assert_eq!(goes_down(&side).await, Fault::Loading);
    comes_back("loading", &side).await;
}

#[tokio::test]
async fn a_replica_takes_no_writes() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    server.say("REPLICAOF 127.0.0.1 1");
    assert_eq!(goes_down(&side).await, Fault::ReadOnly);
    server.say("REPLICAOF NO ONE");
    comes_back("read only", &side).await;
}

#[tokio::test]
async fn out_of_memory() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    server.say("CONFIG SET maxmemory 1");
    assert_eq!(goes_down(&side).await, Fault::OutOfMemory);
    server.say("CONFIG SET maxmemory 0");
    comes_back("out of memory", &side).await;
}

#[tokio::test]
async fn another_password_than_before() {
    let server = Server::start(&["--requirepass", "first"]).await;
    let side = side(&format!("redis://:first@127.0.0.1:{}", server.port)).await;
    let client = redis::Client::open(format!("redis://:first@127.0.0.1:{}", server.port)).expect("an address");
    let mut admin = client.get_connection().expect("a connection");
    let mut say = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut admin).expect("done");
    say(&["CONFIG", "SET", "requirepass", "second"]);
    say(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    goes_down(&side).await;
    eventually("that the password is wrong", async || {
        matches!(side.store.health(), Health::Down { reason: Fault::Denied, .. })
    })
    .await;
    say(&["CONFIG", "SET", "requirepass", "first"]);
    comes_back("password", &side).await;
}

#[tokio::test]
async fn a_user_who_may_not() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    server.say("ACL SETUSER default -evalsha -eval");
    assert_eq!(goes_down(&side).await, Fault::Denied);
    server.say("ACL SETUSER default +@all");
    comes_back("permission", &side).await;
}

#[tokio::test]
async fn a_server_that_has_forgotten_its_scripts_is_told_them_again() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    server.say("SCRIPT FLUSH");
    admitted(side.admit(1, vec![line(&rpm(), 1, 1)]).await);
}

#[tokio::test]
async fn a_key_of_another_type_concerns_only_those_who_ask_for_it() {
    let server = Server::start(&[]).await;
    let side = side(&server.url()).await;
    let spoilt = limit("spoilt", Kind::Window, 1);
    server.say(&format!("SET {} 1", spoilt.key));
    assert_eq!(side.admit(1, vec![line(&spoilt, 1, 0)]).await, Err(Unanswered::Down));
    assert!(side.store.health().is_up(), "one key should not put the store down");
    admitted(side.admit(2, vec![line(&rpm(), 1, 1)]).await);
}

#[tokio::test]
async fn sidecars_see_each_other_come_and_go() {
    let mut server = Server::start(&[]).await;
    let first = side(&server.url()).await;
    assert_eq!(first.store.replicas().count, 1);
    let mut second = side(&server.url()).await;
    eventually("both see both", async || {
        let (one, other) = (first.store.replicas(), second.store.replicas());
        (one.count, other.count) == (2, 2) && one.rank + other.rank == 1
    })
    .await;
    server.stop();
    goes_down(&first).await;
    assert_eq!(first.store.replicas().count, 2, "what was seen last holds while it is away");
    server.start_again().await;
    eventually("both see both again", async || second.store.replicas().count == 2).await;
    second.end();
    eventually("one has left", async || first.store.replicas().count == 1).await;
}

#[tokio::test]
async fn what_the_others_told_before_a_loss_does_not_count_after_it() {
    let server = Server::start(&[]).await;
    let (way, other_way) = (Proxy::start(server.port).await, Proxy::start(server.port).await);
    let (one, other) = (side(&way.url()).await, side(&other_way.url()).await);
    other.store.have_told().await.expect("an answer");
    assert_eq!(one.store.have_told().await, Some(2));
    way.set(Mode::Silent);
    other_way.set(Mode::Silent);
    goes_down(&one).await;
    goes_down(&other).await;
    // Redis has kept what both had said; but only one is back.
    way.set(Mode::Pass);
    comes_back("a loss", &one).await;
    assert_eq!(one.store.have_told().await, Some(1), "the other has not told what it admitted meanwhile");
    other_way.set(Mode::Pass);
    comes_back("a loss", &other).await;
    other.store.have_told().await.expect("an answer");
    assert_eq!(one.store.have_told().await, Some(2));
}
