//! Redis forgets: what a sidecar was admitted is brought back, once, and nothing is charged meanwhile.

use std::time::Duration;

use outrigger_filters::rate_limit::remote::{Answer, Kind, Lease, Limit, Line, Open, Restore};
use outrigger_filters::store::Unanswered;

use crate::server::Server;
use crate::side::{MINUTE, Side, admitted, config, eventually, limit, line, refused, settle};

const SECOND: u64 = 1_000_000;
const BEGIN: u64 = 1_000_000 * SECOND;

fn lost(answer: Result<Answer, Unanswered>) -> Vec<u64> {
    match answer {
        Ok(Answer::Lost { stored, .. }) => stored,
        other => panic!("this should have been found lost: {other:?}"),
    }
}

fn restoring(limit: &Limit, known: u64, restore: Restore) -> Line {
    Line { restore: Some(restore), ..line(limit, 1, known) }
}

fn charges(ages: &[(u64, u64)]) -> Vec<(Duration, u64)> {
    ages.iter().map(|(age, amount)| (Duration::from_secs(*age), *amount)).collect()
}

#[tokio::test]
async fn what_was_flushed_is_brought_back_once() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    side.remote.set_clock(BEGIN);
    let rpm = limit("rpm", Kind::Window, 10);
    for number in 0..6 {
        admitted(side.admit(number, vec![line(&rpm, 1, number)]).await);
    }
    for how in ["FLUSHALL", &format!("DEL {}", rpm.key)] {
        server.say(how);
        assert_eq!(lost(side.admit(6, vec![line(&rpm, 1, 6)]).await), [0], "after {how}");
        assert_eq!(lost(side.admit(6, vec![line(&rpm, 1, 6)]).await), [0], "nothing was charged meanwhile");
        let restore = Restore { stored: 0, charges: charges(&[(50, 4), (5, 2)]), open: Vec::new() };
        let (_, lines) = admitted(side.admit(6, vec![restoring(&rpm, 6, restore.clone())]).await);
        assert_eq!((lines[0].used, lines[0].own), (7, 7), "what was lost, and one more");
        let (_, lines) = admitted(side.admit(7, vec![restoring(&rpm, 6, restore)]).await);
        assert_eq!((lines[0].used, lines[0].own), (8, 8), "a second request brought the same, and it is void");
    }
    side.remote.set_clock(BEGIN + 12 * SECOND);
    let seen = side.seen(&rpm).await;
    assert_eq!(seen.used, 4, "what was 50 s old when it was brought back has left");
    side.remote.set_clock(BEGIN + 70 * SECOND);
    assert_eq!(side.seen(&rpm).await.used, 0, "all has left");
}

#[tokio::test]
async fn what_was_lost_in_part_is_brought_back_in_part() {
    let server = Server::start(&[]).await;
    let (side, other) = (Side::new(&server.url()).await, Side::new(&server.url()).await);
    let rpm = limit("rpm", Kind::Window, 100);
    side.remote.set_clock(BEGIN);
    other.remote.set_clock(BEGIN);
    admitted(other.admit(1, vec![line(&rpm, 30, 0)]).await);
    admitted(side.admit(1, vec![line(&rpm, 5, 0)]).await);
    admitted(side.admit(2, vec![line(&rpm, 20, 5)]).await);
    // As a replica would have it that took over without the last charge of 20.
    server.say(&format!("HSET {} c:{} 5 s 35 a 35", rpm.key, side.store.sidecar()));
    assert_eq!(lost(side.admit(3, vec![line(&rpm, 1, 25)]).await), [5]);
    let restore = Restore { stored: 5, charges: charges(&[(0, 20)]), open: Vec::new() };
    let (_, lines) = admitted(side.admit(3, vec![restoring(&rpm, 25, restore)]).await);
    assert_eq!((lines[0].used, lines[0].own), (56, 26), "30 of the other, 25 of this one, and one more");
    let (_, lines) = admitted(other.admit(2, vec![line(&rpm, 1, 30)]).await);
    assert_eq!((lines[0].used, lines[0].own), (57, 31), "the other's part was not lost and is not touched");
}

#[tokio::test]
async fn what_was_admitted_without_redis_comes_in_with_the_next_request() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    let rpm = limit("rpm", Kind::Window, 10);
    admitted(side.admit(1, vec![line(&rpm, 1, 0)]).await);
    let restore = Restore { stored: 1, charges: charges(&[(3, 8)]), open: Vec::new() };
    let lines = refused(side.admit(2, vec![Line { cost: 2, ..restoring(&rpm, 9, restore) }]).await);
    assert_eq!((lines[0].used, lines[0].own), (9, 9), "it came in, and left no room for two");
}

#[tokio::test]
async fn open_leases_come_back_and_are_settled() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    let (tpm, open) = (limit("tpm", Kind::Reserved, 1000), limit("open", Kind::Concurrent, 2));
    let (at, _) = admitted(side.admit(1, vec![line(&tpm, 300, 0), line(&open, 1, 0)]).await);
    server.say("FLUSHALL");
    assert_eq!(lost(side.admit(2, vec![line(&tpm, 100, 300), line(&open, 1, 1)]).await), [0, 0]);
    let lease = |reserved| vec![Open { lease: Lease(1), reserved, at }];
    let tokens = Restore { stored: 0, charges: charges(&[(0, 300)]), open: lease(300) };
    let requests = Restore { stored: 0, charges: Vec::new(), open: lease(1) };
    let asked = || vec![restoring(&tpm, 300, tokens.clone()), restoring(&open, 1, requests.clone())];
    let (_, lines) = admitted(side.admit(2, asked()).await);
    assert_eq!((lines[0].used, lines[0].reserved), (301, 301), "both reservations are open");
    assert_eq!((lines[1].used, lines[1].own), (2, 2), "both requests are open");
    side.remote.settle(settle(&tpm, 1, at, 300, 40, 300));
    side.remote.settle(settle(&open, 1, at, 1, 0, 1));
    eventually("both are settled", async || {
        let (tokens, requests) = (side.seen(&tpm).await, side.seen(&open).await);
        (tokens.used, tokens.reserved, requests.used) == (41, 1, 1)
    })
    .await;
}

#[tokio::test]
async fn a_settle_for_what_was_lost_is_void() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    let tpm = limit("tpm", Kind::Reserved, 1000);
    let (at, _) = admitted(side.admit(1, vec![line(&tpm, 300, 0)]).await);
    server.say("FLUSHALL");
    let (_, lines) = admitted(side.admit(2, vec![line(&limit("other", Kind::Window, 1), 1, 0)]).await);
    assert_eq!(lines[0].used, 1, "another key concerns nobody");
    side.remote.settle(settle(&tpm, 1, at, 300, 900, 300));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(side.seen(&tpm).await.used, 0, "the restore will bring the real amount");
}

#[tokio::test]
async fn a_clock_that_goes_back_an_hour_makes_a_new_beginning_and_one_that_jitters_does_not() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    side.remote.set_clock(BEGIN);
    let (rpm, tpm) = (limit("rpm", Kind::Window, 10), limit("tpm", Kind::Reserved, 1000));
    let open = limit("open", Kind::Concurrent, 10);
    let asked = |known: u64| vec![line(&rpm, 1, known), line(&tpm, 100, 100 * known), line(&open, 1, known)];
    admitted(side.admit(1, asked(0)).await);
    side.remote.set_clock(BEGIN - 2 * SECOND);
    let (_, lines) = admitted(side.admit(2, asked(1)).await);
    assert_eq!(lines.iter().map(|seen| seen.used).collect::<Vec<_>>(), [2, 200, 2], "two seconds are jitter");
    side.remote.set_clock(BEGIN - 3600 * SECOND);
    assert_eq!(lost(side.admit(3, asked(2)).await), [0, 0, 0], "what lies in the future is gone");
    side.remote.set_clock(BEGIN - 3600 * SECOND + 1);
    let (_, lines) = admitted(side.admit(3, asked(0)).await);
    assert_eq!(lines.iter().map(|seen| seen.used).collect::<Vec<_>>(), [1, 100, 1], "and nothing is held up by it");
}

#[tokio::test]
async fn leases_of_a_sidecar_that_vanished_are_free_after_their_time_and_not_before() {
    let time = Duration::from_millis(1500);
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    let config = config(&server.url());
    let other = Side::with(&config, time);
    other.ready().await;
    let (tpm, open) = (limit("tpm", Kind::Reserved, 1000), limit("open", Kind::Concurrent, 5));
    let mut gone = Side::with(&config, time);
    gone.ready().await;
    admitted(gone.admit(1, vec![line(&tpm, 700, 0), line(&open, 1, 0)]).await);
    let (at, _) = admitted(other.admit(1, vec![line(&tpm, 20, 0), line(&open, 1, 0)]).await);
    tokio::time::sleep(2 * time).await;
    let (tokens, requests) = (side.seen(&tpm).await, side.seen(&open).await);
    assert_eq!((tokens.reserved, requests.used), (720, 2), "both live and renew");
    gone.end();
    let ended = tokio::time::Instant::now();
    while side.seen(&tpm).await.reserved == 720 {
        assert!(ended.elapsed() < 4 * time, "the dead one's reservation was never given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Renewed last within a third of the time before its end.
    assert!(ended.elapsed() > time / 2, "given back after {:?}, before its time", ended.elapsed());
    eventually("its request is closed", async || side.seen(&open).await.used == 1).await;
    let tokens = side.seen(&tpm).await;
    assert_eq!((tokens.used, tokens.reserved), (20, 20), "the living one's is as it was");
    other.remote.settle(settle(&tpm, 1, at, 20, 10, 20));
    eventually("and is settled", async || side.seen(&tpm).await.used == 10).await;
}

#[tokio::test]
async fn a_settle_after_its_time_is_charged_whole() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    side.remote.set_clock(BEGIN);
    let tpm = Limit { window: 10 * MINUTE, ..limit("tpm", Kind::Reserved, 1000) };
    let (at, _) = admitted(side.admit(1, vec![line(&tpm, 700, 0)]).await);
    side.remote.set_clock(BEGIN + 59 * SECOND);
    assert_eq!(side.seen(&tpm).await.used, 700, "it is not over yet");
    side.remote.set_clock(BEGIN + 61 * SECOND);
    let seen = side.seen(&tpm).await;
    assert_eq!((seen.used, seen.reserved, seen.own), (0, 0, 700), "its time is over and it was given back");
    side.remote.settle(settle(&tpm, 1, at, 700, 650, 700));
    eventually("it is charged", async || side.seen(&tpm).await.used == 650).await;
}
