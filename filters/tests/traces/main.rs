//! Traces of real services replayed against limits in a real Redis. Needs redis-server. All of it: `benches/traces`.

mod judge;
#[allow(dead_code, reason = "the bench uses more of it")]
mod replay;
#[allow(dead_code, reason = "the tests of Redis's faults use more of it")]
#[path = "../redis/server.rs"]
mod server;
#[allow(dead_code, reason = "the bench uses more of it")]
mod trace;

use replay::Reserve;
use server::Server;
use trace::trace;

const MOST: usize = 3_000;

#[tokio::test]
async fn requests_of_a_trace_never_pass_their_limit_and_lose_little_to_it() {
    let server = Server::start(&[]).await;
    let requests = &trace("azure-conversation.csv")[..MOST];
    for share in [0.5, 0.9] {
        let amount = trace::share_of_requests(requests, share);
        let admitted = replay::requests(&server, requests, amount).await;
        let most = judge::most(&admitted.requests());
        assert!(most <= amount, "{most} in one window of a limit of {amount}");
        let exact = judge::exact(requests, amount, |_| 1).len();
        let part = admitted.requests().len() as f64 / exact as f64;
        assert!(part >= 0.97, "{} admitted where an exact log admits {exact}", admitted.requests().len());
    }
}

#[tokio::test]
async fn tokens_reserved_as_expected_hardly_pass_their_limit_and_lose_little_to_it() {
    let server = Server::start(&[]).await;
    let requests = &trace("azure-conversation.csv")[..MOST];
    let amount = trace::share_of_tokens(requests, 0.7);
    let admitted = replay::tokens(&server, requests, amount, Reserve::Expected).await;
    let over = judge::most(&admitted.tokens()) as f64 / amount as f64 - 1.0;
    assert!(over <= 0.01, "{:.2} % over the limit", over * 100.0);
    let after = judge::charged_after(requests, amount);
    let useful = judge::sum(&admitted.tokens()) as f64 / judge::sum(&after) as f64;
    assert!(useful >= 0.98, "{:.1} % of the tokens that charging after the answer lets in", useful * 100.0);
}
