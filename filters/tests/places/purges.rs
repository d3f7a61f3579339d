//! Purges reach every sidecar, whatever Redis does meanwhile.

use std::sync::Arc;

use outrigger_filters::Tenant;
use outrigger_filters::semantic_cache::entry::Entry;
use outrigger_filters::semantic_cache::places::Purge;

use crate::server::Server;
use crate::side::{SCOPE, Side, entry, id, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_all_and_whoever_comes_later() {
    let server = Server::start(&[]).await;
    let (one, two) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    let three = Side::new(&server.url()).await;
    one.keep(1).await;
    one.places.put(Arc::new(Entry { tenant: Tenant::of(b"else"), ..entry(2) }));
    one.places.finish().await;
    for side in [&two, &three] {
        assert!(side.places.fetch(&id(1), &SCOPE).await.is_some());
        assert!(side.places.fetch(&id(2), &SCOPE).await.is_some());
    }
    let asked = two.places.era();
    let purged = two.places.purge(Purge::Tenant(Tenant::of(b"somebody"))).await;
    assert!(purged.everywhere && purged.here >= 1, "{purged:?}");
    assert_eq!(two.places.fetch(&id(1), &SCOPE).await, None, "nor out of Redis");
    for side in [&one, &three] {
        until("the others have heard", || side.places.get(&id(1)).is_none()).await;
        assert_eq!(side.places.fetch(&id(1), &SCOPE).await, None);
        assert!(side.places.get(&id(2)).is_some(), "another tenant's stays");
        assert!(side.places.era() > asked);
    }
    let later = Side::new(&server.url()).await;
    assert_eq!(later.places.fetch(&id(1), &SCOPE).await, None);
    assert!(later.places.fetch(&id(2), &SCOPE).await.is_some());
    one.keep(1).await;
    assert!(later.places.fetch(&id(1), &SCOPE).await.is_some(), "asked after the purge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_made_elsewhere_while_the_purge_came_is_seen_by_nobody() {
    let server = Server::start(&[]).await;
    let (one, two) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    let asked = one.places.era();
    assert!(two.places.purge(Purge::All).await.everywhere);
    // It may not have heard yet, and puts it.
    one.places.put(Arc::new(Entry { era: asked, ..entry(1) }));
    one.places.finish().await;
    assert_eq!(two.places.fetch(&id(1), &SCOPE).await, None);
    until("it has heard itself", || one.places.get(&id(1)).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_while_redis_is_away_is_told_on_its_return() {
    let mut server = Server::start(&[]).await;
    let (one, two) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    one.keep(1).await;
    assert!(two.places.fetch(&id(1), &SCOPE).await.is_some());
    server.stop();
    until("both have noticed", || !one.store.health().is_up() && !two.store.health().is_up()).await;
    let purged = one.places.purge(Purge::Model("model".into())).await;
    assert!(!purged.everywhere && purged.here >= 1, "{purged:?}");
    assert!(two.places.get(&id(1)).is_some(), "nobody could tell it");
    server.start_again().await;
    until("now it is told", || two.places.get(&id(1)).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgot_is_told_the_rules_again() {
    let server = Server::start(&[]).await;
    let one = Side::new(&server.url()).await;
    let asked = one.places.era();
    assert!(one.places.purge(Purge::Tag(None, "tag".into())).await.everywhere);
    server.say("FLUSHALL");
    let rule = || {
        let fields: Vec<String> =
            redis::from_redis_value(server.say("HKEYS outrigger:cache:{log}:state")).unwrap_or_default();
        fields.iter().any(|field| field == "r:tag * tag")
    };
    until("the rule is there again", rule).await;
    // One that knows nothing of the time before, and an answer of that time.
    let two = Side::new(&server.url()).await;
    two.places.put(Arc::new(Entry { era: asked, ..entry(1) }));
    assert_eq!(two.places.get(&id(1)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_outlived_the_rules_in_redis_are_not_trusted() {
    let server = Server::start(&[]).await;
    let one = Side::new(&server.url()).await;
    one.keep(1).await;
    drop(one);
    // As a server does that has to make room.
    server.say("DEL outrigger:cache:{log}:state outrigger:cache:{log}");
    let two = Side::new(&server.url()).await;
    assert_eq!(two.places.fetch(&id(1), &SCOPE).await, None, "a purge of it may have been forgotten");
    two.keep(2).await;
    let three = Side::new(&server.url()).await;
    assert!(three.places.fetch(&id(2), &SCOPE).await.is_some());
}
