//! Three sidecars on one real server, and a trace that comes to them in virtual time.
//!
//! Time stands still but when the replay moves it: Redis is told the time with every call, the sidecars' own
//! ledgers read tokio's clock, which is paused. A paused clock jumps ahead while it waits for a socket, and every call
//! would time out; it does not while a blocking task runs, and so one runs as long as the replay. One event follows
//! the other, each done in Redis before the next begins: what is measured is what the limits let in, not who
//! was first in a race.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::HeaderMap;
use outrigger_filters::Tenant;
use outrigger_filters::estimate::Estimates;
use outrigger_filters::rate_limit::{Demand, Generation, Limiter, Output, Permit};
use outrigger_filters::store::{Config, Store};
use outrigger_filters::tenants::Names;
use redis::Commands;

use crate::judge::Log;
use crate::server::Server;
use crate::trace::{Micros, Request};

/// Virtual time begins well after 0, which stands for Redis's own clock.
const BEGIN: Micros = 1_000_000_000_000;
const MODEL: Option<&str> = Some("model");

/// What is reserved of tokens for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// What answers took until now, each sidecar's own.
    Expected,
    /// The client's bound, which its answer reaches.
    Bound,
}

/// What was let in: when, how many tokens, and when its answer ended.
#[derive(Default)]
pub struct Admitted(Vec<(Micros, u64, Micros)>);

impl Admitted {
    pub fn requests(&self) -> Log {
        self.0.iter().map(|(at, _, _)| (*at, 1)).collect()
    }

    pub fn tokens(&self) -> Log {
        self.0.iter().map(|(at, tokens, _)| (*at, *tokens)).collect()
    }

    /// As if all were used at the answer's end.
    pub fn tokens_at_the_end(&self) -> Log {
        let mut log: Log = self.0.iter().map(|(_, tokens, end)| (*end, *tokens)).collect();
        log.sort_unstable();
        log
    }
}

/// Replays a trace against a limit of requests.
pub async fn requests(server: &Server, trace: &[Request], amount: u64) -> Admitted {
    replay(server, trace, "requests", amount, Reserve::Bound).await
}

/// Replays a trace against a limit of tokens.
pub async fn tokens(server: &Server, trace: &[Request], amount: u64, reserve: Reserve) -> Admitted {
    replay(server, trace, "tokens", amount, reserve).await
}

async fn replay(server: &Server, trace: &[Request], unit: &str, amount: u64, reserve: Reserve) -> Admitted {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("replay{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let limits = format!(r#"{{"limits":[{{"name":"limit","unit":"{unit}","amount":{amount},"window":"1m"}}]}}"#);
    let sidecars: Vec<_> = (0..3).map(|_| Sidecar::new(&server.url(), &prefix, &limits)).collect();
    let mut background: FuturesUnordered<_> = sidecars
        .iter()
        .map(|sidecar| futures::future::join(sidecar.store.clone().run(), sidecar.limiter.clone().run()))
        .collect();
    let replayed = async {
        while !sidecars.iter().all(|sidecar| sidecar.limiter.is_settled() && !sidecar.limiter.is_degraded()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let standing = Standing::new(server, &prefix);
        let mut replay =
            Replay { sidecars: &sidecars, reserve, now: 0, open: BTreeSet::new(), held: Vec::new(), standing };
        in_virtual_time(replay.run(trace)).await
    };
    tokio::select! {
        admitted = replayed => admitted,
        _ = background.next() => panic!("the background should not end"),
    }
}

async fn in_virtual_time<T>(replay: impl Future<Output = T>) -> T {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || ended.recv());
    tokio::time::pause();
    let value = replay.await;
    tokio::time::resume();
    drop(end);
    let _ = blocking.await;
    value
}

struct Sidecar {
    store: Arc<Store>,
    limiter: Arc<Limiter>,
    estimates: Estimates,
}

impl Sidecar {
    fn new(url: &str, prefix: &str, limits: &str) -> Self {
        let meter = opentelemetry::global::meter("test");
        // Virtual time may leap while a call is under way.
        let config = Config {
            url: Some(url.parse().expect("an address")),
            prefix: prefix.to_owned(),
            timeout_ms: 3_600_000,
            connect_timeout_ms: 3_600_000,
            ..Config::default()
        };
        let store = Store::new(&config, &meter).expect("settings");
        let limits = serde_json::from_str(limits).expect("a limit");
        let limiter = Limiter::new(&limits, Names::default(), Some(store.clone()), &meter).expect("a limit");
        Sidecar { store, limiter, estimates: Estimates::default() }
    }
}

struct Replay<'bench> {
    sidecars: &'bench [Sidecar],
    reserve: Reserve,
    now: Micros,
    /// Answers under way, by when they end.
    open: BTreeSet<(Micros, usize)>,
    held: Vec<Option<(Permit, usize, Request)>>,
    standing: Standing,
}

impl Replay<'_> {
    async fn run(&mut self, trace: &[Request]) -> Admitted {
        let mut admitted = Admitted::default();
        for (number, request) in trace.iter().enumerate() {
            while let Some(&(end, held)) = self.open.first()
                && end <= request.at
            {
                self.open.pop_first();
                self.move_to(end).await;
                self.end(held).await;
            }
            self.move_to(request.at).await;
            if self.admit(number % self.sidecars.len(), request).await {
                admitted.0.push((request.at, request.tokens(), request.at + request.takes()));
            }
        }
        // What is still open ends with the replay.
        self.held.clear();
        admitted
    }

    async fn move_to(&mut self, time: Micros) {
        self.sidecars.iter().for_each(|sidecar| sidecar.limiter.set_clock(BEGIN + time));
        let passed = Duration::from_micros(time - self.now);
        self.now = time;
        if passed > Duration::ZERO {
            tokio::time::advance(passed).await;
        }
    }

    async fn admit(&mut self, who: usize, request: &Request) -> bool {
        let sidecar = &self.sidecars[who];
        let output = match self.reserve {
            Reserve::Bound => Output::Asked(request.output),
            Reserve::Expected => Output::Expected(sidecar.estimates.output(MODEL, request.input)),
        };
        let generation = Some(Generation { model: MODEL, user: None, input: request.input, output });
        let headers = HeaderMap::new();
        let demand = Demand { tenant: Tenant::of(b"tenant"), generation, headers: &headers };
        let decided = sidecar.limiter.admit(&demand).await;
        assert!(!sidecar.limiter.is_degraded(), "Redis should have decided: {:?}", sidecar.store.health());
        let Ok(permit) = decided else { return false };
        if permit.holds() {
            self.standing.reserved += permit.verdicts[0].cost;
            self.open.insert((request.at + request.takes(), self.held.len()));
            self.held.push(Some((permit, who, *request)));
        }
        true
    }

    async fn end(&mut self, held: usize) {
        let Some((mut permit, who, Request { input, output, .. })) = self.held[held].take() else { return };
        (permit.spent.input, permit.spent.output) = (input, output);
        self.standing.reserved -= permit.verdicts[0].cost;
        drop(permit);
        self.sidecars[who].estimates.learn(MODEL, input, output);
        self.standing.wait().await;
    }
}

/// What Redis should say is reserved, and what it says.
struct Standing {
    connection: redis::Connection,
    prefix: String,
    key: Option<String>,
    reserved: u64,
}

impl Standing {
    fn new(server: &Server, prefix: &str) -> Self {
        Standing { connection: server.connection(), prefix: prefix.to_owned(), key: None, reserved: 0 }
    }

    /// Waits until a settle has come to Redis.
    async fn wait(&mut self) {
        for _ in 0..100_000 {
            if self.read() == self.reserved {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("Redis says that {} are reserved, and {} should be", self.read(), self.reserved);
    }

    fn read(&mut self) -> u64 {
        let (connection, prefix) = (&mut self.connection, &self.prefix);
        let key = self.key.get_or_insert_with(|| {
            let keys: Vec<String> = connection.keys(format!("{prefix}:*:limit:*")).expect("an answer");
            keys.into_iter().find(|key| !key.ends_with(":open")).expect("the limit's key")
        });
        connection.hget(&*key, "r").expect("an answer")
    }
}
