//! What the windows promise while Redis lives.

use std::time::Duration;

use outrigger_filters::rate_limit::remote::Kind;

use crate::server::Server;
use crate::side::{Side, admitted, eventually, limit, line, refused, settle};

const SECOND: u64 = 1_000_000;
/// Virtual time begins well after 0, which stands for Redis's own clock.
const BEGIN: u64 = 1_000_000 * SECOND;

#[tokio::test]
async fn a_limit_is_met_and_not_passed() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    side.remote.set_clock(BEGIN);
    let rpm = limit("rpm", Kind::Window, 3);
    for number in 1..=3 {
        let (at, lines) = admitted(side.admit(number, vec![line(&rpm, 1, number - 1)]).await);
        assert_eq!(at, BEGIN, "the clock that was set should rule");
        assert_eq!((lines[0].used, lines[0].own, lines[0].fits), (number, number, true), "a charge should show");
    }
    let lines = refused(side.admit(4, vec![line(&rpm, 1, 3)]).await);
    assert_eq!((lines[0].used, lines[0].own, lines[0].fits), (3, 3, false), "a refused request should charge nothing");
    let retry = lines[0].retry.expect("a time after which it fits");
    assert_eq!(lines[0].oldest, Some(retry), "with all charged at once, all of it leaves at once");
    side.remote.set_clock(BEGIN + retry.as_micros() as u64 - 1);
    refused(side.admit(5, vec![line(&rpm, 1, 3)]).await);
    side.remote.set_clock(BEGIN + retry.as_micros() as u64);
    let (_, lines) = admitted(side.admit(6, vec![line(&rpm, 1, 3)]).await);
    assert_eq!((lines[0].used, lines[0].own), (1, 4), "what left the window is not used, but was charged");
}

#[tokio::test]
async fn all_lines_are_charged_or_none() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    let (wide, narrow) = (limit("wide", Kind::Window, 100), limit("narrow", Kind::Reserved, 10));
    let open = limit("open", Kind::Concurrent, 5);
    admitted(side.admit(1, vec![line(&wide, 7, 0), line(&narrow, 8, 0), line(&open, 1, 0)]).await);
    let lines = refused(side.admit(2, vec![line(&wide, 7, 7), line(&narrow, 8, 8), line(&open, 1, 1)]).await);
    assert_eq!(lines.iter().map(|seen| seen.used).collect::<Vec<_>>(), [7, 8, 1], "a refused request charges nothing");
    assert_eq!(lines.iter().map(|seen| seen.fits).collect::<Vec<_>>(), [true, false, true], "only one did not fit");
    assert_eq!(lines[1].reserved, 8, "the first one's reservation is open");
}

#[tokio::test]
async fn a_reservation_is_settled_with_what_was_used() {
    let server = Server::start(&[]).await;
    let side = Side::new(&server.url()).await;
    let tpm = limit("tpm", Kind::Reserved, 1000);
    let (at, _) = admitted(side.admit(1, vec![line(&tpm, 400, 0)]).await);
    side.remote.settle(settle(&tpm, 1, at, 400, 150, 400));
    eventually("the refund", async || side.seen(&tpm).await.used == 150).await;
    let (at, lines) = admitted(side.admit(2, vec![line(&tpm, 100, 400)]).await);
    assert_eq!((lines[0].used, lines[0].reserved, lines[0].own), (250, 100, 500), "the second one adds to it");
    side.remote.settle(settle(&tpm, 2, at, 100, 180, 500));
    eventually("the rest", async || side.seen(&tpm).await.used == 330).await;
    assert_eq!(side.seen(&tpm).await.reserved, 0, "nothing is reserved any more");
    assert!(side.seen(&tpm).await.newest.expect("some use") > Duration::from_secs(55), "it was charged just now");
}
