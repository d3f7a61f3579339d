//! The slowest requests of the last fifteen minutes, each with its whole way.
//!
//! Each minute keeps its own slowest ones, as many as are told of in all: so when a minute is over and forgotten, those
//! that it outdid are still there. What is not among them is looked at for a few nanoseconds and never copied.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use opentelemetry::trace::{SpanId, TraceId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Config;
use super::profile::own;
use crate::charge::{Charge, Source};
use crate::trace::{Outcome, Record, Seen, Span};
use crate::windows::{Ring, millis};

const MINUTES: usize = 15;

pub struct Slow {
    kept: AtomicUsize,
    backends: ArcSwap<Vec<String>>,
    minutes: Mutex<Ring<Vec<Entry>>>,
}

struct Entry {
    trace: TraceId,
    began: Option<Timestamp>,
    took: Duration,
    seen: Option<Seen>,
    spans: Vec<Span>,
    /// The trace of the request whose answer it shared.
    shared: Option<TraceId>,
}

impl Slow {
    /// `backends` are the names of the settings' `[[backends]]`, in their order.
    pub fn new(config: &Config, backends: &[String]) -> Self {
        let ring = Ring::new(Duration::from_secs(60), MINUTES);
        let (kept, backends) = (AtomicUsize::new(config.slow_kept), ArcSwap::from_pointee(backends.to_vec()));
        Slow { kept, backends, minutes: Mutex::new(ring) }
    }

    /// Other settings from now on; `backends` are the names that backends have or had, by their places.
    pub fn renew(&self, config: &Config, backends: &[String]) {
        self.kept.store(config.slow_kept, Ordering::Relaxed);
        self.backends.store(Arc::new(backends.to_vec()));
    }

    fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    pub fn take(&self, now: Instant, record: &Record) {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = minutes.slot(now);
        // The slowest stands first.
        let place = slowest.partition_point(|entry| entry.took >= record.took);
        if place >= self.kept() {
            return;
        }
        slowest.truncate(self.kept().saturating_sub(1));
        slowest.insert(place, Entry::of(record));
    }

    /// What `GET /api/performance/slow` answers.
    pub fn report(&self, now: Instant) -> Value {
        let minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slowest: Vec<&Entry> = minutes.last(now, MINUTES).flatten().collect();
        slowest.sort_by_key(|entry| std::cmp::Reverse(entry.took));
        slowest.truncate(self.kept());
        let told: Vec<Value> = slowest.into_iter().map(|entry| self.told(entry)).collect();
        json!({ "window": "15m", "kept": self.kept(), "requests": told })
    }

    fn told(&self, entry: &Entry) -> Value {
        let seen = entry.seen.as_ref();
        let called = entry.spans.iter().rev().filter_map(|span| span.called.as_deref());
        let answered = called.clone().find(|called| called.error.is_none()).or_else(|| called.clone().next());
        let backends = self.backends.load();
        let backend = answered.and_then(|called| backends.get(called.backend));
        let charge = seen.and_then(|seen| seen.charge.as_ref()).or_else(|| answered?.charge.as_ref());
        json!({
            "trace_id": entry.trace.to_string(),
            "request_id": seen.map(|seen| seen.request_id.as_ref()),
            "began": entry.began.map(|began| began.to_string()),
            "route": seen.and_then(|seen| seen.route).map(crate::Route::path),
            "passed": seen.and_then(|seen| seen.passed.as_deref()),
            "model": seen.and_then(|seen| seen.model.as_deref()),
            "backend": backend,
            "streams": seen.map(|seen| seen.streams),
            "status": seen.map(|seen| seen.status),
            // Nobody said what came of a request that was lost inside.
            "error": seen.map_or(Some("internal_error"), |seen| seen.error),
            "duration_ms": millis(entry.took.as_secs_f64()),
            "first_token_ms": seen.and_then(|seen| seen.first_token).map(in_millis),
            "per_token_ms": seen.and_then(|seen| seen.per_token).map(in_millis),
            "tokens": tokens(charge),
            "cache": seen.and_then(|seen| seen.cache),
            "dedup": seen.and_then(|seen| seen.dedup),
            "shared_trace_id": entry.shared.map(|trace| trace.to_string()),
            "timeline": self.timeline(&entry.spans),
        })
    }

    fn timeline(&self, spans: &[Span]) -> Vec<Value> {
        let mut ordered: Vec<&Span> = spans.iter().collect();
        ordered.sort_by_key(|span| span.began);
        ordered.into_iter().map(|span| self.line(span, spans)).collect()
    }

    fn line(&self, span: &Span, spans: &[Span]) -> Value {
        let mut line = json!({
            "name": span.name,
            "depth": depth(span, spans),
            "start_ms": in_millis(span.began),
            "own_ms": in_millis(own(span, spans)),
            "total_ms": in_millis(span.took.unwrap_or_default()),
            "outcome": match span.outcome {
                Outcome::LetGo => json!("let_go"),
                Outcome::Answered(status) => json!(status),
                Outcome::Refused(word) => json!(word),
            },
        });
        if let Some(called) = &span.called {
            line["backend"] = json!(self.backends.load().get(called.backend));
            line["attempt"] = json!(called.attempt);
            line["first_chunk_ms"] = json!(called.first_chunk.map(in_millis));
            line["last_chunk_ms"] = json!(called.last_chunk.map(in_millis));
            line["chunks"] = json!(called.chunks);
            line["error"] = json!(called.error);
        }
        line
    }
}

impl Entry {
    fn of(record: &Record) -> Self {
        Entry {
            trace: record.context.trace_id(),
            began: Timestamp::try_from(record.began).ok(),
            took: record.took,
            seen: record.seen.clone(),
            spans: record.spans.clone(),
            shared: record.link.map(|place| place.trace),
        }
    }
}

fn in_millis(time: Duration) -> f64 {
    millis(time.as_secs_f64())
}

fn tokens(charge: Option<&Charge>) -> Value {
    let Some(charged) = charge.and_then(Charge::get) else { return Value::Null };
    json!({
        "input": charged.tokens.input,
        "cached_input": charged.tokens.cached_input,
        "output": charged.tokens.output,
        "source": if charged.source == Source::Measured { "measured" } else { "estimated" },
    })
}

/// How many spans are around it; never more than there are, whatever their parents say.
fn depth(span: &Span, spans: &[Span]) -> usize {
    let around = |inner: &&Span| parent(inner.parent, spans);
    let first = parent(span.parent, spans);
    std::iter::successors(first, around).take(spans.len()).count()
}

fn parent(id: SpanId, spans: &[Span]) -> Option<&Span> {
    spans.iter().find(|span| span.id == id)
}

#[cfg(test)]
mod tests;
