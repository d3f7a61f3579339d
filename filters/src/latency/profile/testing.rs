//! Made-up requests.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::Route;
use crate::charge::{Charge, Charged, Source};
use crate::trace::{Called, Outcome, Record, Seen, Span};
use crate::usage::Tokens;

pub const BACKEND: &str = "backend";

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A call that streams so many chunks, the first after so long; its tokens are twice its chunks.
#[derive(Clone, Copy)]
pub struct Streamed {
    pub backend: usize,
    pub model: &'static str,
    pub first: Duration,
    pub gap: Duration,
    pub chunks: u32,
}

pub fn streamed() -> Streamed {
    Streamed { backend: 0, model: "m", first: millis(200), gap: millis(20), chunks: 51 }
}

impl Streamed {
    pub fn took(&self) -> Duration {
        self.first + self.gap * (self.chunks - 1)
    }

    pub fn charge(&self) -> Charge {
        let tokens = Tokens { input: 100, output: u64::from(self.chunks) * 2 - 1, ..Tokens::default() };
        Charge::known(Charged { tokens, cost: None, source: Source::Measured })
    }
}

pub fn span(number: u64, name: &'static str, parent: u64, began: Duration, took: Duration) -> Span {
    Span {
        name,
        id: SpanId::from(number),
        parent: SpanId::from(parent),
        began,
        took: Some(took),
        outcome: Outcome::Answered(200),
        called: None,
    }
}

pub fn call(number: u64, parent: u64, began: Duration, streamed: &Streamed) -> Span {
    let called = Called {
        backend: streamed.backend,
        attempt: 1,
        model: Some(streamed.model.into()),
        streams: true,
        first_chunk: Some(streamed.first),
        last_chunk: Some(streamed.took()),
        chunks: streamed.chunks,
        error: None,
        charge: Some(streamed.charge()),
        told: None,
    };
    Span { called: Some(Box::new(called)), ..span(number, BACKEND, parent, began, streamed.took()) }
}

pub fn seen(model: &str) -> Seen {
    Seen {
        request_id: "request".into(),
        route: Some(Route::ChatCompletions),
        passed: None,
        tenant: None,
        model: Some(model.into()),
        streams: true,
        status: 200,
        error: None,
        first_token: None,
        per_token: None,
        request_bytes: 0,
        answer_bytes: 0,
        cache: Some("MISS"),
        dedup: Some("leader"),
        charge: None,
    }
}

pub fn record(took: Duration, spans: Vec<Span>, seen: Option<Seen>) -> Record {
    let state = TraceState::NONE;
    Record {
        context: SpanContext::new(TraceId::from(7_u128), SpanId::from(1), TraceFlags::default(), false, state),
        parent: SpanId::INVALID,
        began: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        took,
        spans,
        seen,
        link: None,
    }
}

/// A request through all rooms: each of them takes its own time before it hands on, and the client takes the last.
pub fn request(rooms: &[(&'static str, Duration)], streamed: &Streamed, client: Duration) -> Record {
    let begins = millis(1);
    let head = rooms.iter().map(|(_, own)| *own).sum::<Duration>() + streamed.first;
    let (mut began, mut left, mut spans, mut parent) = (begins, head, Vec::new(), 1);
    for (place, (name, own)) in rooms.iter().enumerate() {
        let number = place as u64 + 2;
        spans.push(span(number, name, parent, began, left));
        began += *own;
        left -= *own;
        parent = number;
    }
    spans.push(call(parent + 1, parent, began, streamed));
    let first_token = Some(began + streamed.first);
    let per_token = Some(streamed.gap / 2);
    let charge = Some(streamed.charge());
    let seen = Seen { first_token, per_token, charge, ..seen(streamed.model) };
    record(began + streamed.took() + client, spans, Some(seen))
}

pub fn rooms(slow: &'static str, own: Duration) -> Vec<(&'static str, Duration)> {
    let usual = Duration::from_micros(50);
    let names = ["dedup", "rate_limit", "semantic_cache", "breaker", "cost", "latency"];
    names.into_iter().map(|name| (name, if name == slow { own } else { usual })).collect()
}
