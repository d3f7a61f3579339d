//! What a shared limit costs: `cargo bench -p outrigger-filters --bench redis`.
//!
//! Round trips at 500 requests a second beside a PING, and throughput with 64 in flight on one thread. Needs
//! redis-server.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/redis/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/redis/side.rs"]
mod side;

use std::sync::LazyLock;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use outrigger_filters::rate_limit::remote::{Kind, Limit, Line};
use outrigger_filters::store::{Config, Script};
use server::Server;
use side::{MINUTE, Side, admitted, limit, line};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::start(&[]).await;
    let side = Side::with(&Config { timeout_ms: 1_000, ..side::config(&server.url()) }, MINUTE);
    side.ready().await;
    round_trips(&server, &side).await;
    throughput(&server, &side).await;
}

const LINES: [usize; 3] = [1, 2, 3];

fn lines(count: usize, tenant: usize) -> Vec<Line> {
    let kinds = [("rpm", Kind::Window), ("tpm", Kind::Reserved), ("open", Kind::Concurrent)];
    let line = |&(name, kind): &(&str, Kind)| {
        line(&Limit { key: format!("outrigger:{{{tenant}}}:{name}"), ..limit("", kind, 1_000_000_000) }, 1, 0)
    };
    kinds[..count].iter().map(line).collect()
}

static NOTHING: LazyLock<Script> = LazyLock::new(|| Script::new("return 1"));

async fn round_trips(server: &Server, side: &Side) {
    let client = redis::Client::open(server.url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let names = ["PING", "a script of nothing", "admit, 1 line", "admit, 2 lines", "admit, 3 lines"];
    let mut times = vec![Vec::new(); names.len()];
    let begun = Instant::now();
    for request in 0..15_000_u32 {
        tokio::time::sleep_until(begun + request * Duration::from_millis(2)).await;
        // In turns of a second each: what else the machine does falls on all, and what each needs stays in its caches.
        let which = (request / 500) as usize % names.len();
        let lines = lines(which.saturating_sub(1), 0);
        let limits: Vec<_> = lines.iter().map(|line| line.limit.clone()).collect();
        let asked = Instant::now();
        let mut at = 0;
        match which {
            0 => redis::cmd("PING").exec_async(&mut connection).await.expect("an answer"),
            1 => drop(side.store.call(NOTHING.call(["key"]), |_| ()).await.expect("an answer")),
            _ => at = admitted(side.admit(request.into(), lines).await).0,
        }
        times[which].push(asked.elapsed());
        settle_all(side, request.into(), at, &limits);
    }
    println!("\nround trip at 500 requests/s    p50        p99");
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort_unstable();
        println!("{name:24}{:>14?} {:>12?}", times[times.len() / 2], times[times.len() * 99 / 100]);
    }
}

async fn throughput(server: &Server, side: &Side) {
    println!("\n64 in flight on one thread                      calls/s   server's CPU per call");
    let client = redis::Client::open(server.url()).expect("an address");
    let connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let ping = || async { redis::cmd("PING").exec_async(&mut connection.clone()).await.expect("an answer") };
    measure(server, "PING", |_| ping()).await;
    for count in LINES {
        for tenants in [1, 1000] {
            let name = format!("admit and settle, {count} lines, {tenants} tenants");
            measure(server, &name, |number| admit_and_settle(side, number as u64, lines(count, number % tenants)))
                .await;
        }
    }
    let full = Limit { amount: 10, ..limit("full", Kind::Window, 10) };
    measure(server, "refuse, 1 line", |number| {
        let asked = vec![line(&full, 1, 0)];
        async move { drop(side.admit(number as u64, asked).await.expect("an answer")) }
    })
    .await;
}

async fn admit_and_settle(side: &Side, number: u64, lines: Vec<Line>) {
    let limits: Vec<_> = lines.iter().map(|line| line.limit.clone()).collect();
    let (at, _) = admitted(side.admit(number, lines).await);
    settle_all(side, number, at, &limits);
}

/// As all requests are in the end.
fn settle_all(side: &Side, number: u64, at: u64, limits: &[Limit]) {
    for limit in limits.iter().filter(|limit| limit.kind != Kind::Window) {
        side.remote.settle(side::settle(limit, number, at, 1, 1, 0));
    }
}

/// What the server has used of a core.
fn cpu(server: &Server) -> Duration {
    let text: String = redis::cmd("INFO").arg("cpu").query(&mut server.connection()).expect("an answer");
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok()).expect("a figure");
    Duration::from_secs_f64(field("used_cpu_user:") + field("used_cpu_sys:"))
}

async fn measure<F: Future<Output = ()>>(server: &Server, name: &str, call: impl Fn(usize) -> F) {
    const COUNT: usize = 100_000;
    let (begun, used) = (Instant::now(), cpu(server));
    let mut flying: FuturesUnordered<_> = (0..64).map(&call).collect();
    let mut next = 64;
    while flying.next().await.is_some() {
        if next < COUNT {
            flying.push(call(next));
            next += 1;
        }
    }
    let (elapsed, used) = (begun.elapsed(), cpu(server) - used);
    println!("{name:44} {:>9.0} {:>12.1?}", COUNT as f64 / elapsed.as_secs_f64(), used / COUNT as u32);
}
