//! What the room costs a request and a streamed event when all is well: the chain with it and without it, in turns.
//!
//! `cargo bench -p outrigger-filters --bench cost`; ends with 1 where a bar is missed: 10 µs a request, 1 µs an event.

mod turns;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, StatusCode};
use outrigger_filters::ask::Sharing;
use outrigger_filters::cost::books::{self, Books, Parts};
use outrigger_filters::cost::{Config, Cost};
use outrigger_filters::reply::Kind;
use outrigger_filters::tokens::Tokenizers;
use outrigger_filters::{Ask, Backend, Call, Chain, Event, Filter, Refusal, Reply, Route, Tenant};
use serde_json::{Value, json};
use turns::{Added, added};

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I help you today?"},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;
const TOKEN: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
const USAGE: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29}}\n\n";

/// Answers at once: whole, or with so many tokens, its usage, and an end.
struct Prompt(Option<usize>);

#[async_trait]
impl Backend for Prompt {
    async fn call(&self, _ask: &Ask, _call: &Call) -> Result<Reply, Refusal> {
        let Some(tokens) = self.0 else { return Ok(Reply::whole(StatusCode::OK, HeaderMap::new(), WHOLE)) };
        let event = move |number| {
            let (bytes, kind) = match number {
                _ if number < tokens => (TOKEN, Kind::Data),
                _ if number == tokens => (USAGE, Kind::Data),
                _ => (&b"data: [DONE]\n\n"[..], Kind::Last),
            };
            Ok(vec![Event { bytes: Bytes::from_static(bytes), kind }])
        };
        Ok(Reply::events(StatusCode::OK, HeaderMap::new(), Box::pin(stream::iter((0..tokens + 2).map(event)))))
    }
}

fn ask(stream: bool, number: usize) -> Ask {
    let body = json!({ "model": "gpt-4o", "stream": stream, "user": number.to_string(), "max_tokens": 64,
        "messages": [{ "role": "user", "content": "hello" }] });
    let (route, body) = (Route::ChatCompletions, Bytes::from(body.to_string()));
    let target = route.path().to_owned();
    Ask::read(route, Tenant::anonymous(), target, HeaderMap::new(), body, Sharing::Allowed).expect("a good body")
}

fn chain(settings: Option<&Value>, tokens: Option<usize>) -> Chain {
    let meter = opentelemetry::global::meter("bench");
    let rooms: Vec<Arc<dyn Filter>> = match settings {
        None => Vec::new(),
        Some(settings) => {
            let config: Config = serde_json::from_value(settings.clone()).expect("good settings");
            let tokenizers = Arc::new(Tokenizers::new(&[]).expect("no files to read"));
            let backends = vec![books::Backend { name: "local".into(), include_usage: true }];
            let parts = Parts { backends, ..Parts::alone(&config, tokenizers, &meter) };
            vec![Arc::new(Cost::new(Books::new(parts).expect("good settings")))]
        }
    };
    Chain::new(rooms, Arc::new(Prompt(tokens)), &meter)
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let budgets = json!({ "budgets": [{ "name": "b", "amount_usd": 1_000_000.0, "period": "month" }] });
    let file = std::env::temp_dir().join(format!("outrigger-bench-{}.db", std::process::id()));
    let on_disk = json!({ "ledger_path": file });
    let micros = Duration::from_micros;
    let mut met = true;
    for (what, settings, tokens, bar) in [
        ("plain", &json!({}), None, Some(micros(10))),
        ("plain, the ledger on disk", &on_disk, None, Some(micros(10))),
        // Its prompt is counted before the call: that is the price of not overshooting.
        ("plain, a hard budget", &budgets, None, None),
        ("stream of 16 tokens", &json!({}), Some(16), Some(micros(10 + 18))),
    ] {
        let (with, without) = (chain(Some(settings), tokens), chain(None, tokens));
        let Added { p50, least, most } = added(&runtime, &with, &without, |number| ask(tokens.is_some(), number));
        met &= bar.is_none_or(|bar| p50 <= bar);
        println!("{what}: {p50:?} at p50 (rounds {least:?} to {most:?})");
    }
    // What is left behind is no part of the measurement.
    let _ = std::fs::remove_file(&file);
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
