//! Whether anything of one tenant ever reaches another: a thousand tenants ask the same questions, in the same words,
//! in other spelling and in other words, of two sidecars with memory, disk, a Redis and the model.
//!
//! Every answer names the tenant that it was made for. `cargo bench -p outrigger-filters --bench tenants`, with
//! `REQUESTS=10000` before it for a short run; the model as for `--bench meaning`.

#![expect(clippy::disallowed_methods, reason = "a bench owns its tasks: they end with it")]

#[path = "kept/sidecars.rs"]
mod sidecars;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use outrigger_filters::ask::Sharing;
use outrigger_filters::{Ask, Backend, Call, Chain, Refusal, Reply, Route, Tenant};
use serde_json::json;
use sidecars::{Said, read, ready, redis, sidecar, sum};

const TENANTS: u64 = 1_000;

/// The same question in the same words, in other spelling, and in other words.
const QUESTIONS: [[&str; 3]; 8] = [
    ["How do I reset my password?", "how do i reset my password", "How can I reset my password?"],
    ["What is the capital of France?", " What is the capital of  France", "Which city is the capital of France?"],
    ["How do I bake sourdough bread?", "how do I bake sourdough bread", "How can I bake sourdough bread?"],
    ["What does a circuit breaker do?", "what does a circuit breaker do", "What is it that a circuit breaker does?"],
    ["How tall is Mount Everest?", "how tall is Mount Everest", "What is the height of Mount Everest?"],
    ["Why is the sky blue?", "why is the sky blue", "Why does the sky look blue?"],
    ["How do I cancel my card?", "how do i cancel my card", "How can I cancel my card?"],
    ["What is photosynthesis?", "what is photosynthesis", "Can you explain what photosynthesis is?"],
];

/// Answers with the name of whoever asks.
struct Naming(AtomicU64);

#[async_trait]
impl Backend for Naming {
    async fn call(&self, ask: &Ask, _call: &Call) -> Result<Reply, Refusal> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let message = json!({ "role": "assistant", "content": ask.tenant.hex() });
        let body = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] }).to_string();
        Ok(Reply::whole(StatusCode::OK, HeaderMap::new(), body))
    }
}

fn ask(tenant: u64, text: &str, stream: bool) -> Ask {
    let body = json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": text }] }).to_string();
    let (route, tenant) = (Route::ChatCompletions, Tenant::of(format!("tenant {tenant}").as_bytes()));
    let target = route.path().to_owned();
    Ask::read(route, tenant, target, HeaderMap::new(), Bytes::from(body), Sharing::Allowed).expect("good JSON")
}

/// One in fifty questions is put in other words, which takes a pass of the model; a few are streamed.
async fn worker(chains: [Chain; 2], requests: u64, seed: u64, foreign: Arc<AtomicU64>) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..requests {
        let tenant = random.u64(..TENANTS);
        let question = &QUESTIONS[random.usize(..QUESTIONS.len())];
        let words = match random.u8(..100) {
            0..2 => question[2],
            2..20 => question[1],
            _ => question[0],
        };
        let ask = ask(tenant, words, random.u8(..10) == 0);
        let expected = ask.tenant.hex();
        let reply = chains[random.usize(..2)].run(Arc::new(ask)).await.expect("an answer");
        let Said { word, bytes, broken } = read(reply).await;
        assert!(!broken && ["HIT", "SEMANTIC", "MISS", "STALE"].contains(&&*word), "{word}");
        if !String::from_utf8_lossy(&bytes).contains(&expected) {
            foreign.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let requests = std::env::var("REQUESTS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000_000_u64);
    let (_redis, url) = redis();
    let backend = Arc::new(Naming(AtomicU64::new(0)));
    let sidecars = [0, 1].map(|number| sidecar(number, &url, backend.clone() as Arc<dyn Backend>));
    ready(&sidecars).await;
    let foreign = Arc::<AtomicU64>::default();
    let chains = sidecars.each_ref().map(|(chain, _)| chain.clone());
    let workers = (0..16).map(|seed| tokio::spawn(worker(chains.clone(), requests / 16, seed, foreign.clone())));
    for worker in futures::future::join_all(workers).await {
        worker.expect("no panic");
    }
    println!(
        "{requests} requests of {TENANTS} tenants, two sidecars, the backend asked {} times",
        backend.0.load(Ordering::Relaxed)
    );
    for path in ["exact", "canonical", "semantic"] {
        println!("  {path:<10} {}", sum(&sidecars, &format!("/hits_by_tier/{path}")));
    }
    for path in ["memory", "disk", "redis"] {
        println!("  {path:<10} {}", sum(&sidecars, &format!("/hits_by_place/{path}")));
    }
    println!("answers across tenants: {}", foreign.load(Ordering::Relaxed));
    assert_eq!(foreign.load(Ordering::Relaxed), 0);
}
