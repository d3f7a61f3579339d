//! What counting costs: a question read, its prompt counted, and each event of an answer watched.
//!
//! `cargo bench -p outrigger-filters --bench tokens` prints the best of many rounds of each. It counts with
//! OpenAI's newest encoding, and beside it with the `tokenizer.json` that the variable `TOKENIZER` names.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use outrigger_filters::ask::Sharing;
use outrigger_filters::reply::Kind;
use outrigger_filters::tokens::{Config, Tokenizers};
use outrigger_filters::usage::Tally;
use outrigger_filters::{Ask, Event, Route, Tenant, canonical};
use tokio::time::Instant;

/// The best time of one round, in which `work` is done so many times.
fn time(name: &str, times: u32, mut work: impl FnMut()) {
    let mut best = Duration::MAX;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        let round = Instant::now();
        (0..times).for_each(|_| work());
        best = best.min(round.elapsed() / times);
    }
    println!("{name:<44} {best:>12.1?}");
}

fn chat(model: &str, text: &str) -> Ask {
    let messages = serde_json::json!([{"role": "user", "content": text}]);
    let body = serde_json::json!({"model": model, "max_tokens": 64, "user": "u", "messages": messages}).to_string();
    let (route, tenant) = (Route::ChatCompletions, Tenant::anonymous());
    match Ask::read(route, tenant, route.path().to_owned(), HeaderMap::new(), body.into(), Sharing::Allowed) {
        Ok(ask) => ask,
        Err(reason) => panic!("the body of a bench was refused: {reason}"),
    }
}

fn prompts(tokenizers: &Tokenizers, model: &str) {
    let english = "The outrigger is the reason that a small canoe does not capsize, and it is light. ";
    let json = r#"{"id": 17, "name": "Ada", "tags": ["a", "b-7"], "score": 0.25}, "#;
    let letters = "qwhxzkvjpbmgfdyuoitraelnsc";
    for (name, text) in [("english", english), ("json", json), ("letters", letters)] {
        for kilobytes in [1, 32, 256] {
            let long = text.repeat(kilobytes * 1024 / text.len());
            let ask = chat(model, &long);
            time(&format!("prompt, {model}, {name}, {kilobytes} KB"), 1, || {
                black_box(tokenizers.prompt(&ask));
            });
        }
    }
}

fn events(tokenizers: &Arc<Tokenizers>) {
    let chunk = |delta: &str, rest: &str| {
        let head = r#"{"id":"chatcmpl-9f8a7b6c","object":"chat.completion.chunk","created":1763740800,"model":"m","system_fingerprint":"fp_44709d6fcb""#;
        let choice = format!(r#""choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]"#);
        Event { bytes: Bytes::from(format!("data: {head},{choice}{rest}}}\n\n")), kind: Kind::Data }
    };
    let usage = r#","usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4}}"#;
    for (name, event) in [
        ("a token", chunk(r#"{"content":" token"}"#, "")),
        ("a token, usage null", chunk(r#"{"content":" token"}"#, r#","usage":null"#)),
        ("a token and usage", chunk(r#"{"content":" token"}"#, usage)),
        ("40 bytes of text", chunk(r#"{"content":" several tokens that have come together"}"#, "")),
    ] {
        let mut tally = Tally::new(Route::ChatCompletions, tokenizers.clone(), None);
        time(&format!("event, {name}"), 10_000, || tally.event(black_box(&event)));
    }
    let numbers = "0.0123456789, ".repeat(75_000);
    let body = Event { bytes: Bytes::from(format!("{{\"data\":[{numbers}]}}")), kind: Kind::Bytes };
    let mut tally = Tally::new(Route::Embeddings, tokenizers.clone(), None);
    time("a megabyte of embeddings", 10, || tally.event(black_box(&body)));
}

fn main() {
    let configs = std::env::var("TOKENIZER").map(|file| {
        serde_json::from_value::<Config>(serde_json::json!({"models": ["file"], "file": file})).into_iter().collect()
    });
    let tokenizers = match Tokenizers::new(&configs.unwrap_or_else(|_| Vec::new())) {
        Ok(tokenizers) => Arc::new(tokenizers),
        Err(error) => panic!("{error}"),
    };
    let ask = chat("m", &"word ".repeat(190));
    time("a body of 1 KB read", 10_000, || {
        black_box(canonical::read(&ask.body).is_ok());
    });
    events(&tokenizers);
    prompts(&tokenizers, "gpt-4o");
    if std::env::var_os("TOKENIZER").is_some() {
        prompts(&tokenizers, "file");
    }
}
