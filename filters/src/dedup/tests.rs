use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http::StatusCode;
use tokio::time::{advance, sleep};

use super::*;
use crate::testing::{Script, Scripted, Step, ask, ask_by};
use crate::{Body, Broken, Chain, Events, Reason};

const BODY: &str = r#"{"model":"m","messages":[]}"#;

fn chain(config: Config, backend: &Scripted) -> Chain {
    let meter = opentelemetry::global::meter("test");
    Chain::new(vec![Arc::new(Dedup::new(&config, Arc::new(()), &meter))], Arc::new(backend.clone()), &meter)
}

fn defaults(backend: &Scripted) -> Chain {
    chain(Config::default(), backend)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Three tokens, ten milliseconds apart, the first after ten.
fn tokens() -> Vec<Step> {
    ["one", "two", "three"].into_iter().flat_map(|token| [Step::Wait(millis(10)), Step::Data(token)]).collect()
}

fn events(reply: Reply) -> Events {
    match reply.body {
        Body::Events(events) => events,
        Body::Whole(_) => panic!("a stream was expected"),
    }
}

async fn text(mut events: Events) -> (String, Option<Broken>) {
    let mut text = String::new();
    while let Some(batch) = events.next().await {
        match batch {
            Ok(batch) => batch.iter().for_each(|event| text.push_str(&String::from_utf8_lossy(&event.bytes))),
            Err(broken) => return (text, Some(broken)),
        }
    }
    (text, None)
}

const WHOLE: &str = "data: one\n\ndata: two\n\ndata: three\n\n";

fn role(reply: &Reply) -> &str {
    reply.headers[HEADER].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_equal_requests_cost_one_call_and_all_get_all_of_it() {
    for script in [Script::Stream(tokens()), Script::late(millis(30), WHOLE)] {
        let backend = Scripted::new([script]);
        let chain = defaults(&backend);
        let asked = (0..1_000).map(|_| async {
            let reply = chain.run(Arc::new(ask(BODY))).await.unwrap();
            let role = role(&reply).to_owned();
            match reply.body {
                Body::Whole(bytes) => (role, String::from_utf8_lossy(&bytes).into_owned()),
                Body::Events(events) => (role, text(events).await.0),
            }
        });
        let answers = futures::future::join_all(asked).await;
        assert_eq!(backend.calls(), 1, "one flight is one call");
        assert!(answers.iter().all(|(_, text)| text == WHOLE), "every reader gets the same complete bytes");
        assert_eq!(answers.iter().filter(|(role, _)| role == "leader").count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_joiner_gets_everything_from_the_start() {
    let backend = Scripted::new([Script::Stream(tokens())]);
    let chain = defaults(&backend);
    let mut first = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    first.next().await;
    first.next().await;
    let late = chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(role(&late), "follower");
    assert_eq!(text(events(late)).await.0, WHOLE);
    assert_eq!(backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_loses_a_byte_when_the_first_asker_leaves() {
    let backend = Scripted::new([Script::Stream(tokens())]);
    let chain = defaults(&backend);
    let mut first = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    first.next().await;
    let second = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    drop(first);
    assert_eq!(text(second).await, (WHOLE.to_owned(), None));
    assert_eq!(backend.cancelled(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_joins_does_not_wait_for_a_first_asker_that_does_not_read() {
    let backend = Scripted::new([Script::Stream(tokens())]);
    let chain = defaults(&backend);
    let mut first = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    first.next().await;
    let second = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    assert_eq!(text(second).await, (WHOLE.to_owned(), None), "the first asker drives nothing any more");
    assert_eq!(text(first).await.0.len(), WHOLE.len() - "data: one\n\n".len(), "and still gets the rest");
}

#[tokio::test(start_paused = true)]
async fn the_first_asker_is_woken_when_another_takes_over() {
    let backend = Scripted::new([Script::Late(millis(50), Box::new(Script::Stream(tokens())))]);
    let chain = defaults(&backend);
    let first = tokio::time::timeout(millis(500), chain.run(Arc::new(ask(BODY))));
    let second = async {
        sleep(millis(10)).await;
        chain.run(Arc::new(ask(BODY))).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(text(events(first.expect("it waits for ever").unwrap())).await.0, WHOLE);
    assert_eq!(text(events(second.unwrap())).await.0, WHOLE);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_reader_leaves_the_generation_is_cancelled() {
    let backend = Scripted::new([Script::Stream(tokens())]);
    let chain = defaults(&backend);
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(events(chain.run(Arc::new(ask(BODY))).await.unwrap()));
    }
    readers.pop();
    readers.pop();
    sleep(millis(1)).await;
    assert_eq!(backend.cancelled(), 0, "one still reads");
    readers.pop();
    sleep(millis(1)).await;
    assert_eq!(backend.cancelled(), 1);
    chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(backend.calls(), 2, "an abandoned flight is not joined");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_head_cancels_too() {
    let backend = Scripted::new([Script::late(millis(1_000), "{}")]);
    let chain = defaults(&backend);
    let mut waiting = Box::pin(chain.run(Arc::new(ask(BODY))));
    assert!(waiting.as_mut().now_or_never().is_none());
    sleep(millis(10)).await;
    drop(waiting);
    sleep(millis(1)).await;
    assert_eq!((backend.calls(), backend.cancelled()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn under_finish_an_abandoned_flight_goes_on_and_can_be_joined() {
    let backend = Scripted::new([Script::Stream(tokens())]);
    let chain = chain(Config { when_abandoned: WhenAbandoned::Finish, ..Config::default() }, &backend);
    drop(chain.run(Arc::new(ask(BODY))).await.unwrap());
    sleep(millis(5)).await;
    assert_eq!(backend.cancelled(), 0);
    let late = chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(role(&late), "follower");
    assert_eq!(text(events(late)).await.0, WHOLE);
    assert_eq!((backend.calls(), backend.cancelled()), (1, 0));
    chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(backend.calls(), 2, "a flight that has landed is not joined");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_every_follower_as_the_same_refusal() {
    let backend = Scripted::new([Script::Late(millis(10), Box::new(Script::Refuse(Reason::Unreachable)))]);
    let chain = defaults(&backend);
    let asked = (0..10).map(|_| chain.run(Arc::new(ask(BODY))));
    for outcome in futures::future::join_all(asked).await {
        assert_eq!(outcome.err().map(|refusal| refusal.reason), Some(Reason::Unreachable));
    }
    assert_eq!(backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_status_reaches_every_follower_too() {
    let backend =
        Scripted::new([Script::Late(millis(10), Box::new(Script::Whole(StatusCode::TOO_MANY_REQUESTS, "slow down")))]);
    let chain = defaults(&backend);
    for outcome in futures::future::join_all((0..10).map(|_| chain.run(Arc::new(ask(BODY))))).await {
        assert_eq!(outcome.map(|reply| reply.status).ok(), Some(StatusCode::TOO_MANY_REQUESTS));
    }
    assert_eq!(backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_break_in_mid_stream_reaches_every_reader_behind_the_same_bytes() {
    let steps =
        vec![Step::Wait(millis(10)), Step::Data("one"), Step::Wait(millis(10)), Step::Break(Broken::BackendCut)];
    let backend = Scripted::new([Script::Stream(steps)]);
    let chain = defaults(&backend);
    let asked = (0..10).map(|_| async { text(events(chain.run(Arc::new(ask(BODY))).await.unwrap())).await });
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer, ("data: one\n\n".to_owned(), Some(Broken::BackendCut)));
    }
    assert_eq!(backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_panics_ends_its_readers_with_an_error() {
    let backend = Scripted::new([Script::Panic]);
    let outcome = defaults(&backend).run(Arc::new(ask(BODY))).await;
    assert_eq!(outcome.err().map(|refusal| refusal.reason), Some(Reason::Lost));

    let backend = Scripted::new([Script::Stream(vec![Step::Data("one"), Step::Wait(millis(1)), Step::Panic])]);
    let chain = defaults(&backend);
    let reply = chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(text(events(reply)).await, ("data: one\n\n".to_owned(), Some(Broken::Lost)));
    chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(backend.calls(), 2, "a lost flight is not joined");
}

#[tokio::test(start_paused = true)]
async fn tenants_opt_outs_and_other_bodies_never_join() {
    let backend = Scripted::new([Script::late(millis(10), "{}")]);
    let chain = defaults(&backend);
    let asks = [
        ask_by("a", Sharing::Allowed, BODY),
        ask_by("b", Sharing::Allowed, BODY),
        ask_by("a", Sharing::Refused, BODY),
        ask_by("a", Sharing::Allowed, r#"{"model":"m","messages":[1]}"#),
    ];
    let replies = futures::future::join_all(asks.into_iter().map(|ask| chain.run(Arc::new(ask)))).await;
    assert_eq!(backend.calls(), 4);
    assert!(replies[2].as_ref().is_ok_and(|reply| !reply.headers.contains_key(HEADER)), "it is in no flight");
}

#[tokio::test(start_paused = true)]
async fn under_separate_only_greedy_or_seeded_requests_share() {
    for (body, calls) in [(BODY, 2), (r#"{"temperature":0}"#, 1), (r#"{"temperature":1,"seed":1}"#, 1)] {
        let backend = Scripted::new([Script::late(millis(10), "{}")]);
        let chain = chain(Config { sampled: Sampled::Separate, ..Config::default() }, &backend);
        futures::future::join_all((0..2).map(|_| chain.run(Arc::new(ask(body))))).await;
        assert_eq!(backend.calls(), calls, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_a_crowded_flight_opens_a_new_one() {
    let backend = Scripted::new([Script::late(millis(10), "{}")]);
    let chain = chain(Config { max_readers: 4, ..Config::default() }, &backend);
    futures::future::join_all((0..10).map(|_| chain.run(Arc::new(ask(BODY))))).await;
    assert_eq!(backend.calls(), 3, "ten readers, four to a flight");
}

fn many(count: usize) -> Vec<Step> {
    (0..count).flat_map(|_| [Step::Data("0123456789"), Step::Wait(millis(1))]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_full_log_is_let_go_and_a_reader_left_behind_is_cut_off() {
    let backend = Scripted::new([Script::Stream(many(500))]);
    let chain = chain(Config { max_log_bytes: 1_800, ..Config::default() }, &backend);
    let fast = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    let mut slow = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    slow.next().await;
    let (all, end) = text(fast).await;
    assert_eq!((all.len(), end), (500 * 18, None), "the one that keeps up loses nothing");
    assert_eq!(text(slow).await.1, Some(Broken::ReaderTooSlow), "the one that does not sees an error");
    assert_eq!(backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_backend_waits_for_a_reader_that_is_alone() {
    let backend = Scripted::new([Script::Stream(many(500))]);
    let chain = chain(Config { max_log_bytes: 1_800, ..Config::default() }, &backend);
    let mut reader = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    let mut count = 0;
    while let Some(event) = reader.next().await {
        count += event.expect("a lone reader is never cut off").len();
        sleep(millis(5)).await;
    }
    assert_eq!(count, 500);
    assert_eq!(backend.cancelled(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_flight_whose_log_has_lost_its_start() {
    let backend = Scripted::new([Script::Stream(many(500))]);
    let chain = chain(Config { max_log_bytes: 1_800, ..Config::default() }, &backend);
    let mut first = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
    for _ in 0..300 {
        first.next().await;
    }
    let late = chain.run(Arc::new(ask(BODY))).await.unwrap();
    assert_eq!(role(&late), "leader");
    assert_eq!(text(events(late)).await.0.len(), 500 * 18);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a test owns its tasks: they end with its runtime")]
async fn joining_leaving_and_landing_at_once_lose_nothing() {
    let backend = Scripted::new([Script::Stream(vec![Step::Data("one"), Step::Wait(millis(1)), Step::Data("two")])]);
    let chain = defaults(&backend);
    let tasks: Vec<_> = (0..64)
        .map(|worker| {
            let chain = chain.clone();
            tokio::spawn(async move {
                for turn in 0..200 {
                    let mut reader = events(chain.run(Arc::new(ask(BODY))).await.unwrap());
                    if (worker + turn) % 3 == 0 {
                        reader.next().await;
                        continue;
                    }
                    assert_eq!(text(reader).await, ("data: one\n\ndata: two\n\n".to_owned(), None));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    sleep(millis(20)).await;
    assert!(backend.calls() < 64 * 200, "some joined");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_each_room_is_told_to_the_leader() {
    let backend = Scripted::new([Script::late(millis(10), "{}")]);
    let reply = defaults(&backend).run(Arc::new(ask(BODY))).await.unwrap();
    let rooms: Vec<_> = reply.timing.own().collect();
    assert_eq!(rooms[1], ("backend", millis(10)));
    assert_eq!(rooms[0].0, "dedup");
    advance(millis(1)).await;
}
