//! What the room costs a request when all is well: the chain with it and without it, in turns.
//!
//! `cargo bench -p outrigger-filters --bench breaker`; ends with 1 where the bar of 5 µs at p50 is missed.

mod turns;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, StatusCode};
use outrigger_filters::ask::Sharing;
use outrigger_filters::breaker::{self, Breaker, Config, Fleet};
use outrigger_filters::reply::Kind;
use outrigger_filters::{Ask, Backend, Call, Chain, Event, Filter, Refusal, Reply, Route, Tenant};
use turns::{Added, added};

/// Answers at once: whole, or with so many events.
struct Prompt(Option<usize>);

#[async_trait]
impl Backend for Prompt {
    async fn call(&self, _ask: &Ask, _call: &Call) -> Result<Reply, Refusal> {
        let Some(events) = self.0 else { return Ok(Reply::whole(StatusCode::OK, HeaderMap::new(), "{}")) };
        let event = |_| {
            let bytes = Bytes::from_static(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n");
            Ok(vec![Event { bytes, kind: Kind::Data }])
        };
        Ok(Reply::events(StatusCode::OK, HeaderMap::new(), Box::pin(stream::iter((0..events).map(event)))))
    }
}

fn ask(body: &str) -> Ask {
    let (route, body) = (Route::ChatCompletions, Bytes::copy_from_slice(body.as_bytes()));
    let target = route.path().to_owned();
    Ask::read(route, Tenant::anonymous(), target, HeaderMap::new(), body, Sharing::Allowed).expect("a good body")
}

const BAR: Duration = Duration::from_micros(5);

fn chain(backends: usize, balance: &str, events: Option<usize>) -> Chain {
    let meter = opentelemetry::global::meter("bench");
    let config: Config = serde_json::from_value(serde_json::json!({ "balance": balance })).expect("good settings");
    let backends: Vec<_> = (0..backends).map(|number| breaker::Backend::named(&number.to_string())).collect();
    let fleet = Fleet::new(&config, &backends, &meter);
    let room: Vec<Arc<dyn Filter>> = if backends.is_empty() { Vec::new() } else { vec![Arc::new(Breaker::new(fleet))] };
    Chain::new(room, Arc::new(Prompt(events)), &meter)
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let plain = (None, r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#);
    let stream = (Some(16), r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}"#);
    let mut met = true;
    for (what, backends, balance, (events, body)) in [
        ("plain, one backend", 1, "least_in_flight", plain),
        ("plain, four backends, least in flight", 4, "least_in_flight", plain),
        ("plain, four backends, round robin", 4, "round_robin", plain),
        ("plain, four backends, prefix", 4, "prefix", plain),
        ("stream of 16 events, one backend", 1, "least_in_flight", stream),
    ] {
        let (with, without) = (chain(backends, balance, events), chain(0, balance, events));
        let Added { p50, least, most } = added(&runtime, &with, &without, |_| ask(body));
        met &= p50 <= BAR;
        println!("{what}: {p50:?} at p50 (rounds {least:?} to {most:?})");
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
