//! What limits let in of real services' traces, beside exact logs: `cargo bench -p outrigger-filters --bench traces`.
//!
//! Each trace of loadtests/traces comes, in virtual time, to three sidecars on one Redis. Names of further files, in
//! Azure's form if they end in `.csv` and in Mooncake's otherwise, may follow after `--`. Needs redis-server.

#[path = "../../tests/traces/judge.rs"]
mod judge;
#[path = "../../tests/traces/replay.rs"]
mod replay;
#[allow(dead_code, reason = "the tests of Redis's faults use more of it")]
#[path = "../../tests/redis/server.rs"]
mod server;
#[path = "../../tests/traces/trace.rs"]
mod trace;

mod cancels;

use replay::{Admitted, Reserve};
use server::Server;
use trace::{Request, trace};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut traces: Vec<_> = ["azure-conversation.csv", "mooncake-conversation.jsonl"]
        .map(|name| (name.to_owned(), trace(name)))
        .into_iter()
        .collect();
    let further = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    traces.extend(further.map(|path| (path.clone(), trace::read(&path))));
    let server = Server::start(&[]).await;
    for (name, requests) in &traces {
        println!("{name}: {} requests in {:.0} s", requests.len(), trace::seconds(requests));
        for share in [0.5, 0.9] {
            of_requests(&server, requests, share).await;
        }
        of_tokens(&server, requests).await;
    }
    cancels::measure(&server).await;
}

/// Windows are judged with both their ends in them; so is the exact log.
async fn of_requests(server: &Server, requests: &[Request], share: f64) {
    let amount = trace::share_of_requests(requests, share);
    let admitted = replay::requests(server, requests, amount).await;
    let exact = judge::exact(requests, amount, |_| 1).len();
    let log = admitted.requests();
    println!(
        "  {amount} requests a minute ({:.0} % of the mean): {} of the exact log's {exact}, {:.2} %; most in a window {}",
        share * 100.0,
        log.len(),
        log.len() as f64 * 100.0 / exact as f64,
        judge::most(&log),
    );
}

async fn of_tokens(server: &Server, requests: &[Request]) {
    let amount = trace::share_of_tokens(requests, 0.7);
    let after = judge::charged_after(requests, amount);
    let known = judge::exact(requests, amount, Request::tokens);
    println!("  {amount} tokens a minute (70 % of the mean)");
    let over = |log: &[(u64, u64)]| judge::most(log) as f64 * 100.0 / amount as f64 - 100.0;
    let told = |name: &str, log: &judge::Log, at_end: Option<f64>| {
        let useful = judge::sum(log) as f64 * 100.0;
        println!(
            "    {name:44} over {:>6.2} %{}; useful {:>6.2} % of charged after, {:>6.2} % of known before",
            over(log),
            at_end.map(|end| format!(", by answers' ends {end:>6.2} %")).unwrap_or_default(),
            useful / judge::sum(&after) as f64,
            useful / judge::sum(&known) as f64,
        );
    };
    told("exact log, charged after the answer", &after, None);
    told("exact log, tokens known before", &known, None);
    for (name, reserve) in
        [("reserved as expected", Reserve::Expected), ("reserved as bounded, exactly", Reserve::Bound)]
    {
        let admitted: Admitted = replay::tokens(server, requests, amount, reserve).await;
        told(name, &admitted.tokens(), Some(over(&admitted.tokens_at_the_end())));
    }
}
