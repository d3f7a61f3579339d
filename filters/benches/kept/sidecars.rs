//! Sidecars for benches: memory, disk, a real Redis and the model.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use outrigger_filters::reply::kept;
use outrigger_filters::semantic_cache::{Cache, Config, SemanticCache};
use outrigger_filters::store::{self, Store};
use outrigger_filters::tenants::Names;
use outrigger_filters::tokens::Tokenizers;
use outrigger_filters::{Backend, Body, Chain, Filter, Reply};
use serde_json::json;

pub struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Redis of the bench's own, and where it is.
pub fn redis() -> (Redis, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--maxmemory", "2gb"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed by scripts/setup test");
    (Redis(child), format!("redis://127.0.0.1:{port}"))
}

fn model() -> PathBuf {
    let usual = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/minilm"));
    std::env::var_os("OUTRIGGER_MODEL").map_or(usual, PathBuf::from)
}

/// One sidecar: the room alone, in front of this backend.
pub fn sidecar(number: usize, url: &str, backend: Arc<dyn Backend>) -> (Chain, Arc<Cache>) {
    let meter = opentelemetry::global::meter("bench");
    let redis: store::Config = serde_json::from_value(json!({ "url": url, "timeout_ms": 50 })).expect("good settings");
    let store = Store::new(&redis, &meter).expect("an address");
    let folder = std::env::temp_dir().join(format!("outrigger-bench-{}-{number}", std::process::id()));
    // So little memory that most answers lie on disk and in Redis.
    let config: Config = serde_json::from_value(json!({
        "memory_bytes": 4_000_000, "max_entry_bytes": 131_072, "disk_path": folder, "disk_bytes": 268_435_456,
        "model_path": model(), "deadline_ms": 1_000,
    }))
    .expect("good settings");
    let tokenizers = Arc::new(Tokenizers::new(&[]).expect("no files"));
    let cache = Cache::new(&config, Names::default(), Some(store.clone()), tokenizers, &meter).expect("good settings");
    tokio::spawn(store.run());
    let running = cache.clone();
    tokio::spawn(async move { running.run().await });
    let rooms: Vec<Arc<dyn Filter>> = vec![Arc::new(SemanticCache::new(cache.clone(), Arc::new(())))];
    (Chain::new(rooms, backend, &meter), cache)
}

/// Waits until both have read the model.
pub async fn ready(sidecars: &[(Chain, Arc<Cache>)]) {
    while !sidecars.iter().all(|(_, cache)| cache.has_meaning()) {
        assert!(sidecars.iter().all(|(_, cache)| cache.without_meaning().is_none()), "the model of `make model`");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A figure of both together.
pub fn sum(sidecars: &[(Chain, Arc<Cache>)], path: &str) -> u64 {
    sidecars.iter().filter_map(|(_, cache)| cache.stats().pointer(path).and_then(serde_json::Value::as_u64)).sum()
}

/// What a client saw of an answer.
pub struct Said {
    /// What `x-cache` says.
    pub word: String,
    pub bytes: Vec<u8>,
    pub broken: bool,
}

pub async fn read(reply: Reply) -> Said {
    let word = reply.headers[kept::HEADER].to_str().expect("a word").to_owned();
    let mut said = Said { word, bytes: Vec::new(), broken: false };
    match reply.body {
        Body::Whole(whole) => said.bytes.extend_from_slice(&whole),
        Body::Events(mut events) => {
            while let Some(batch) = events.next().await {
                match batch {
                    Ok(batch) => batch.iter().for_each(|event| said.bytes.extend_from_slice(&event.bytes)),
                    Err(_) => said.broken = true,
                }
            }
        }
    }
    said
}
