//! How long after a client has left its tokens are free again in Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, StatusCode};
use outrigger_filters::ask::Sharing;
use outrigger_filters::rate_limit::{Limiter, RateLimit};
use outrigger_filters::reply::Kind;
use outrigger_filters::store::{Config, Store};
use outrigger_filters::tenants::Names;
use outrigger_filters::tokens::Tokenizers;
use outrigger_filters::{Ask, Backend, Body, Call, Chain, Event, Refusal, Reply, Route, Tenant};
use redis::Commands;
use tokio::time::Instant;

use crate::server::Server;

const CANCELS: usize = 200;
const BODY: &str = r#"{"model":"m","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const TOKEN: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"word"}}]}"#;
const LIMITS: &str = r#"{"limits":[{"name":"limit","unit":"tokens","amount":1000000000,"window":"1m"}]}"#;

/// One token, and then nothing more for as long as anybody waits.
struct Endless;

#[async_trait]
impl Backend for Endless {
    async fn call(&self, _ask: &Ask, _call: &Call) -> Result<Reply, Refusal> {
        let first = Event { bytes: Bytes::from(format!("{TOKEN}\n\n")), kind: Kind::Data };
        let events = futures::stream::iter([Ok(vec![first])]).chain(futures::stream::pending());
        Ok(Reply::events(StatusCode::OK, HeaderMap::new(), Box::pin(events)))
    }
}

fn ask() -> Arc<Ask> {
    let (route, tenant) = (Route::ChatCompletions, Tenant::of(b"tenant"));
    let (target, body) = (route.path().to_owned(), Bytes::from_static(BODY.as_bytes()));
    Arc::new(Ask::read(route, tenant, target, HeaderMap::new(), body, Sharing::Allowed).expect("a question"))
}

/// The settles are sent by another thread than the one that drops the answer, as in the proxy.
pub async fn measure(server: &Server) {
    let meter = opentelemetry::global::meter("bench");
    let url = Some(server.url().parse().expect("an address"));
    let config = Config { url, prefix: "cancels".into(), timeout_ms: 1_000, ..Config::default() };
    let store = Store::new(&config, &meter).expect("settings");
    let limits = serde_json::from_str(LIMITS).expect("a limit");
    let limiter = Limiter::new(&limits, Names::default(), Some(store.clone()), &meter).expect("a limit");
    let room = RateLimit::new(limiter.clone(), Arc::new(Tokenizers::new(&[]).expect("no files")));
    let chain = Chain::new(vec![Arc::new(room)], Arc::new(Endless), &meter);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = limiter.clone();
    let background = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::select! {
                _ = futures::future::join(store.run(), running.run()) => {}
                _ = ended => {}
            }
        });
    });
    while !limiter.is_settled() || limiter.is_degraded() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut times = Vec::with_capacity(CANCELS);
    for _ in 0..CANCELS {
        tokio::time::sleep(Duration::from_millis(10)).await;
        times.push(cancel(server, &chain).await);
    }
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!(
        "refund seen in Redis after a cancel: p50 {:?}, p99 {:?}, most {:?} of {CANCELS}",
        at(50),
        at(99),
        at(100)
    );
    drop(end);
    background.join().expect("the background should not panic");
}

/// From the drop of an answer until a read of the limit shows its tokens given back.
async fn cancel(server: &Server, chain: &Chain) -> Duration {
    let mut connection = server.connection();
    let reply = chain.run(ask()).await.unwrap_or_else(|_| panic!("it should have been admitted"));
    let Body::Events(mut events) = reply.body else { panic!("a stream") };
    events.next().await;
    let keys: Vec<String> = connection.keys("cancels:*:limit:*").expect("an answer");
    let key = keys.iter().find(|key| !key.ends_with(":open")).expect("the limit's key");
    let mut reserved = || connection.hget::<_, _, u64>(key, "r").expect("an answer");
    assert!(reserved() >= 1_000, "the answer's bound should be reserved");
    let dropped = Instant::now();
    drop(events);
    while reserved() > 0 {}
    dropped.elapsed()
}
