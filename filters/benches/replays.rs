//! Whether a stream that is given again is byte for byte what the backend sent: from memory, from disk and from Redis.
//!
//! Streams of random length and cut, some of which the backend breaks off: those must never be given again.
//! `cargo bench -p outrigger-filters --bench replays`, with `STREAMS=1000` before it for a short run.

#![expect(clippy::disallowed_methods, reason = "a bench owns its tasks: they end with it")]

#[path = "kept/sidecars.rs"]
mod sidecars;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use outrigger_filters::ask::Sharing;
use outrigger_filters::{Ask, Backend, Batch, Broken, Call, Event, Refusal, Reply, Route, Tenant, sse};
use serde_json::{Value, json};
use sidecars::{Said, read, ready, redis, sidecar, sum};

/// One stream in so many is broken off.
const BROKEN: u64 = 20;

/// The events of a stream, as its number decides.
fn events(number: u64) -> Vec<Bytes> {
    let mut random = fastrand::Rng::with_seed(number);
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let data = json!({ "id": format!("c{number}"), "object": "chat.completion.chunk", "choices": [choice] });
        Bytes::from(format!("data: {data}\n\n"))
    };
    let mut events: Vec<_> = (0..random.usize(1..200))
        .map(|_| match random.u8(..10) {
            0 => Bytes::from_static(b": still here\r\n\r\n"),
            _ => {
                let words: String = (0..random.usize(..40)).map(|_| random.char('\u{20}'..'\u{2fff}')).collect();
                chunk(json!({ "content": words }), Value::Null)
            }
        })
        .collect();
    events.push(chunk(json!({}), "stop".into()));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

struct Streams;

#[async_trait]
impl Backend for Streams {
    async fn call(&self, ask: &Ask, _call: &Call) -> Result<Reply, Refusal> {
        let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
        let number = body["number"].as_u64().unwrap_or_default();
        let mut random = fastrand::Rng::with_seed(number ^ 0xABCD);
        let mut rest: Vec<_> =
            events(number).into_iter().map(|bytes| Event { kind: sse::kind(&bytes), bytes }).collect();
        let broken = number.is_multiple_of(BROKEN);
        if broken {
            rest.truncate(random.usize(1..rest.len()));
        }
        let mut batches: Vec<Result<Batch, Broken>> = Vec::new();
        while !rest.is_empty() {
            batches.push(Ok(rest.drain(..random.usize(1..=rest.len())).collect()));
        }
        batches.extend(broken.then_some(Err(Broken::BackendCut)));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
        Ok(Reply::events(StatusCode::OK, headers, Box::pin(stream::iter(batches))))
    }
}

fn ask(number: u64) -> Arc<Ask> {
    let messages = json!([{ "role": "user", "content": format!("question {number}") }]);
    let body = json!({ "model": "m", "stream": true, "number": number, "messages": messages }).to_string();
    let (route, tenant) = (Route::ChatCompletions, Tenant::anonymous());
    let target = route.path().to_owned();
    Arc::new(
        Ask::read(route, tenant, target, HeaderMap::new(), Bytes::from(body), Sharing::Allowed).expect("good JSON"),
    )
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let streams = std::env::var("STREAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(4_000_u64);
    let (_redis, url) = redis();
    let sidecars = [0, 1].map(|number| sidecar(number, &url, Arc::new(Streams)));
    ready(&sidecars).await;
    for number in 0..streams {
        let Said { word, broken, .. } = read(sidecars[0].0.run(ask(number)).await.expect("an answer")).await;
        assert!(word == "MISS" && broken == (number.is_multiple_of(BROKEN)), "{number}: {word}");
    }
    let (mut replays, mut wrong, mut missed, mut half) = (0_u64, 0_u64, 0_u64, 0_u64);
    // At once, out of Redis by the other, and again in another order, when memory has had to make room.
    for (round, place) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
        for step in 0..streams {
            let number = (step * (round * 2 + 1)) % streams;
            let Said { word, bytes, broken } = read(sidecars[place].0.run(ask(number)).await.expect("an answer")).await;
            match (word.as_str(), number.is_multiple_of(BROKEN)) {
                ("HIT", true) => half += 1,
                ("HIT", false) => {
                    replays += 1;
                    wrong += u64::from(broken || bytes != events(number).concat());
                }
                (_, true) => {}
                (_, false) => missed += 1,
            }
        }
    }
    println!("{replays} replays of {streams} streams: {wrong} not byte for byte; {missed} asked anew");
    println!("broken streams given again: {half}");
    for path in ["memory", "disk", "redis"] {
        println!("  {path:<8} {}", sum(&sidecars, &format!("/hits_by_place/{path}")));
    }
    assert_eq!((wrong, half), (0, 0));
}
