//! No interleaving of admits, settles and refunds by any number of workers passes a limit. Judged afterwards by an
//! exact log of what was admitted, by Redis's clock.

use std::time::Duration;

use outrigger_filters::rate_limit::remote::{Answer, Kind, Limit, Line};

use crate::server::Server;
use crate::side::{MINUTE, Side, config, limit, line, settle};

const WINDOW: Duration = Duration::from_millis(400);
const FOR: Duration = Duration::from_secs(4);
const WORKERS: u64 = 6;

/// One charge: when, what was reserved, and when it became what.
#[derive(Clone, Copy)]
struct Charge {
    at: u64,
    reserved: u64,
    settled: Option<(u64, u64)>,
}

/// A small generator of its own, so that a failure can be told by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn limits() -> [Limit; 3] {
    let within = |key, kind, amount| Limit { window: WINDOW, ..limit(key, kind, amount) };
    [within("rpm", Kind::Window, 40), within("tpm", Kind::Reserved, 3_000), within("open", Kind::Concurrent, 5)]
}

#[test]
fn no_interleaving_passes_a_limit() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime().block_on(Server::start(&[]));
    let url = server.url();
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let url = url.clone();
            std::thread::spawn(move || runtime().block_on(sidecar(&url, number)))
        })
        .collect();
    let mut requests = Vec::new();
    for thread in threads {
        requests.extend(thread.join().expect("no panic"));
    }
    assert!(requests.len() > 100, "too few were admitted to say anything: {}", requests.len());
    let [rpm, tpm, open] = limits();
    judge_window(&requests, rpm.amount, |_, _| 1);
    judge_window(&requests, tpm.amount, |charge, now| match charge.settled {
        Some((when, actual)) if when <= now => actual,
        _ => charge.reserved,
    });
    judge_open(&requests, open.amount);
}

/// Whatever was charged within any window is within the limit.
fn judge_window(requests: &[Charge], amount: u64, counts: impl Fn(&Charge, u64) -> u64) {
    let mut most = 0;
    for last in requests {
        let window =
            requests.iter().filter(|charge| charge.at <= last.at && charge.at + WINDOW.as_micros() as u64 > last.at);
        most = most.max(window.map(|charge| counts(charge, last.at)).sum());
    }
    println!("{} requests, {most} of {amount} in a window at most", requests.len());
    assert!(most <= amount, "{most} of {amount} in a window");
    assert!(most * 2 > amount, "{most} of {amount}: the limit was never near");
}

fn judge_open(requests: &[Charge], amount: u64) {
    let open = |at: u64| {
        let is_open = |charge: &&Charge| charge.at <= at && charge.settled.is_none_or(|(end, _)| end > at);
        requests.iter().filter(is_open).count() as u64
    };
    let most = requests.iter().map(|charge| open(charge.at)).max().unwrap_or(0);
    assert!(most <= amount, "{most} of {amount} open at once");
}

/// Works on the limits from several workers, and answers what was admitted.
async fn sidecar(url: &str, number: u64) -> Vec<Charge> {
    let mut config = config(url);
    config.timeout_ms = 1_000;
    let side = Side::with(&config, MINUTE);
    side.ready().await;
    let workers = (0..WORKERS).map(|worker| work(&side, number * WORKERS + worker));
    futures::future::join_all(workers).await.into_iter().flatten().collect()
}

async fn work(side: &Side, number: u64) -> Vec<Charge> {
    let mut dice = Dice(0x5eed + number);
    let mut charges = Vec::new();
    let begun = tokio::time::Instant::now();
    let [rpm, tpm, open] = limits();
    for request in 0.. {
        if begun.elapsed() > FOR {
            break;
        }
        let lease = number * 1_000_000 + request;
        let reserved = 1 + dice.below(400);
        let lines: Vec<Line> = vec![line(&rpm, 1, 0), line(&tpm, reserved, 0), line(&open, 1, 0)];
        let Ok(Answer::Admitted { at, .. }) = side.admit(lease, lines).await else {
            tokio::time::sleep(Duration::from_millis(dice.below(8))).await;
            continue;
        };
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
        let actual = dice.below(reserved + 1);
        // Redis's clock, before it is told: from here on it may count the smaller amount.
        let when = now(side).await;
        side.remote.settle(settle(&tpm, lease, at, reserved, actual, 0));
        side.remote.settle(settle(&open, lease, at, 1, 0, 0));
        charges.push(Charge { at, reserved, settled: Some((when, actual)) });
    }
    charges
}

/// A request of no cost to a limit of its own tells the time.
async fn now(side: &Side) -> u64 {
    match side.admit(0, vec![line(&limit("clock", Kind::Window, 1), 0, 0)]).await {
        Ok(Answer::Admitted { at, .. }) => at,
        other => panic!("no time: {other:?}"),
    }
}
