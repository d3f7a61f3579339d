//! Sidecars that share one Redis: answers, hints, and its losses.

use std::time::Duration;

use outrigger_filters::semantic_cache::entry::{Entry, now};
use outrigger_filters::semantic_cache::places::Place;

use crate::server::Server;
use crate::side::{SCOPE, Side, body, entry, id, settings, until, until_async};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_puts_the_other_fetches() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    one.keep(1).await;
    let (found, place) = other.places.fetch(&id(1), &SCOPE).await.expect("in Redis");
    assert_eq!((place, &found.body[..]), (Place::Redis, body(1).as_bytes()));
    assert!(other.places.get(&id(1)).is_some(), "now in its memory");
    assert_eq!(other.places.fetch(&id(2), &SCOPE).await, None);
    assert!(other.ear.lost(2), "what is nowhere is told to be gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_throws_away_what_is_past() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    let short = Entry { stored: now() - 55_000, kept: Duration::from_secs(60), ..entry(1) };
    one.places.put(short.into());
    one.places.finish().await;
    let left = server.say(&format!("PTTL {}", key(&server)));
    assert!(matches!(left, redis::Value::Int(1..=5000)), "{left:?}");
    until_async("it is past", async || other.places.fetch(&id(1), &SCOPE).await.is_none()).await;
}

/// The one answer of the tests' scope.
fn key(server: &Server) -> String {
    let keys: Vec<String> = redis::from_redis_value(server.say("KEYS *{05*}:e:*")).expect("keys");
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_come_with_the_first_use_of_a_scope_and_then_as_news() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    for number in 0..1200 {
        one.places.learn(crate::side::hint(number));
    }
    one.places.finish().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!other.ear.heard(1), "a scope that is not in use is not listened to");
    other.places.enter(&SCOPE).await;
    assert!((0..1200).all(|number| other.ear.heard(number)), "all were there when it had been entered");
    one.keep(2000).await;
    until("the news of a later one", || other.ear.heard(2000)).await;
    assert!(!one.ear.heard(2000), "nobody is told what he has said himself");
    assert!(other.places.fetch(&id(2000), &SCOPE).await.is_some(), "whoever follows a hint finds the answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_removes_all_lose() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    one.keep(1).await;
    assert!(other.places.fetch(&id(1), &SCOPE).await.is_some());
    one.places.remove(&id(1), &SCOPE);
    one.places.finish().await;
    until("the other has heard", || other.places.get(&id(1)).is_none()).await;
    assert!(other.ear.lost(1));
    assert_eq!(other.places.fetch(&id(1), &SCOPE).await, None, "gone from Redis, too");
    let third = Side::new(&server.url()).await;
    third.places.enter(&SCOPE).await;
    assert!(!third.ear.heard(1), "its hint is struck out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_away_is_a_miss_at_once_and_its_return_is_noticed() {
    let mut server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    other.places.enter(&SCOPE).await;
    one.keep(1).await;
    server.stop();
    until("both have noticed", || !one.store.health().is_up() && !other.store.health().is_up()).await;
    assert_eq!(other.places.fetch(&id(9), &SCOPE).await, None);
    assert!(!other.ear.lost(9), "it may be there all the same");
    one.keep(2).await;
    assert!(one.places.get(&id(2)).is_some(), "memory goes on without Redis");
    assert!(one.places.stats().redis.dropped_writes >= 2, "what can't be told is counted");
    server.start_again().await;
    one.ready().await;
    other.ready().await;
    one.keep(3).await;
    until("news go on", || other.ear.heard(3)).await;
    assert!(other.places.fetch(&id(3), &SCOPE).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_goes_on_with_what_comes_after() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    other.places.enter(&SCOPE).await;
    one.keep(1).await;
    until("the news", || other.ear.heard(1)).await;
    server.say("FLUSHALL");
    other.ear.forget();
    until_async("answers are kept again", async || {
        one.keep(2).await;
        other.places.fetch(&id(2), &SCOPE).await.is_some()
    })
    .await;
    until("news are heard again", || other.ear.heard(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_that_were_trimmed_away_are_read_from_the_scope() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    other.places.enter(&SCOPE).await;
    // As if more had been told than the log holds, between two looks at it.
    let hint = crate::side::hint(1);
    let script = "local n = redis.call('HINCRBY', KEYS[1], 'n', 100) redis.call('DEL', KEYS[2])";
    one.places.learn(hint);
    redis::cmd("EVAL")
        .arg(script)
        .arg(2)
        .arg("outrigger:cache:{log}:state")
        .arg("outrigger:cache:{log}")
        .exec(&mut server.connection())
        .expect("an answer");
    one.places.finish().await;
    until("the scope is read anew", || other.ear.heard(1)).await;
    one.keep(2).await;
    until("and news go on", || other.ear.heard(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_damaged_in_redis_is_a_miss() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    one.places.put(entry(1).into());
    one.places.finish().await;
    server.say(&format!("SETRANGE {} 200 x", key(&server)));
    assert_eq!(other.places.fetch(&id(1), &SCOPE).await, None);
    assert_eq!(other.places.stats().redis.corrupt_reads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_comes_before_redis() {
    let server = Server::start(&[]).await;
    let folder = crate::server::Folder::new();
    let side = Side::with(&server.url(), settings(Some(&folder.0)));
    side.ready().await;
    side.keep(1).await;
    drop(side);
    let side = Side::with(&server.url(), settings(Some(&folder.0)));
    side.ready().await;
    let (_, place) = side.places.fetch(&id(1), &SCOPE).await.expect("in both");
    assert_eq!(place, Place::Disk);
}
