//! A request that is over, taken apart: which part of its time was whose, and what came of it.
//!
//! A room's own time is its time until the head of the answer, without the time that the spans below it had it in
//! that while; spans that overlap, as hedged calls do, count once. A call's time is the wait for its first chunk, and
//! from that to its last one. A follower's whole time is the wait for another's answer, and none of a room. The
//! client's part is the time before the chain began and after the last call was over. What is left is `other`.

use std::sync::Arc;
use std::time::Duration;

use crate::charge::{Charge, Source};
use crate::labels::{MAX_NAME_BYTES, OTHER};
use crate::trace::{Outcome, Record, Seen, Span};
use crate::windows::Count;

/// Parts of a request's time that are no room.
pub mod part {
    pub const WAITING: &str = "backend_waiting";
    pub const GENERATING: &str = "backend_generating";
    pub const FOLLOWING: &str = "dedup_wait";
    pub const CLIENT: &str = "client";
    pub const OTHER: &str = "other";
}

/// Times are in seconds.
#[derive(Debug, Default)]
pub struct Digest {
    pub passed: bool,
    pub counted: Vec<(Count, u64)>,
    pub duration: Option<f64>,
    pub first_token: Option<f64>,
    pub per_token: Option<f64>,
    pub head: Option<f64>,
    pub model: Option<Arc<str>>,
    pub parts: Vec<(&'static str, f64)>,
    pub calls: Vec<Measured>,
}

/// A call to a backend.
#[derive(Debug)]
pub struct Measured {
    pub backend: usize,
    pub model: Option<Arc<str>>,
    pub streams: bool,
    pub is_good: bool,
    pub duration: f64,
    /// Of what streams: the rest has no first chunk that means anything.
    pub first_chunk: Option<f64>,
    /// Where the backend said how many there were.
    pub per_token: Option<f64>,
    pub per_chunk: Option<f64>,
    pub output: u64,
    pub counted: Vec<(Count, u64)>,
}

impl Measured {
    /// The time of a token, or of a chunk where the backend did not say how many tokens there were.
    pub fn per_output(&self) -> Option<f64> {
        self.per_token.or(self.per_chunk)
    }

    fn of(span: &Span) -> Option<Self> {
        let called = span.called.as_deref()?;
        let duration = span.took.unwrap_or_default().as_secs_f64();
        let class = class(called.error.or(word(span.outcome)), status(span.outcome));
        let between = called.last_chunk.zip(called.first_chunk).map(|(last, first)| last.saturating_sub(first));
        let per = |count: u64| {
            let between = between.filter(|between| called.streams && count > 1 && !between.is_zero())?;
            Some(between.as_secs_f64() / (count - 1) as f64)
        };
        let (input, output, source) = tokens(called.charge.as_ref());
        let mut counted = vec![(Count::All, 1), (class, 1), (Count::TokensIn, input), (Count::TokensOut, output)];
        if called.attempt > 1 {
            counted.push((Count::Retries, 1));
        }
        Some(Measured {
            backend: called.backend,
            model: called.model.as_ref().map(short),
            streams: called.streams,
            is_good: class == Count::Good,
            duration,
            first_chunk: called.first_chunk.filter(|_| called.streams).map(|first| first.as_secs_f64()),
            per_token: if source == Some(Source::Measured) { per(output) } else { None },
            per_chunk: per(u64::from(called.chunks)),
            output,
            counted,
        })
    }
}

impl Digest {
    pub fn of(record: &Record) -> Self {
        let Some(seen) = &record.seen else {
            let counted = vec![(Count::All, 1), (Count::OwnErrors, 1)];
            return Digest { counted, calls: calls(record), ..Digest::default() };
        };
        if seen.passed.is_some() {
            return Digest { passed: true, ..Digest::default() };
        }
        let class = class(seen.error, seen.status);
        let is_good = class == Count::Good;
        let good = |time: Option<Duration>| time.filter(|_| is_good).map(|time| time.as_secs_f64());
        Digest {
            passed: false,
            counted: counted(seen, class),
            duration: good(Some(record.took)),
            first_token: good(seen.first_token),
            per_token: good(seen.per_token),
            head: good(record.spans.first().map(ends)),
            model: seen.model.as_ref().map(short),
            // What was refused or given up would make the parts of an answer look smaller than they are.
            parts: if is_good { parts(record, seen) } else { Vec::new() },
            calls: calls(record),
        }
    }
}

fn calls(record: &Record) -> Vec<Measured> {
    record.spans.iter().filter_map(Measured::of).collect()
}

fn counted(seen: &Seen, class: Count) -> Vec<(Count, u64)> {
    let (input, output, _) = tokens(seen.charge.as_ref());
    let mut counted = vec![(Count::All, 1), (class, 1), (Count::TokensIn, input), (Count::TokensOut, output)];
    match seen.cache {
        Some("HIT" | "SEMANTIC" | "STALE") => counted.extend([(Count::CacheLooks, 1), (Count::CacheHits, 1)]),
        Some("MISS") => counted.push((Count::CacheLooks, 1)),
        _ => {}
    }
    if is_follower(seen) {
        counted.push((Count::Followers, 1));
    }
    counted
}

fn is_follower(seen: &Seen) -> bool {
    seen.dedup == Some("follower")
}

/// Whose doing it was, by the closed set of words that refusals and broken answers have.
fn class(error: Option<&str>, status: u16) -> Count {
    match error {
        Some("abandoned") => Count::Abandoned,
        // These have a server's status, or a good one.
        Some("not_cached" | "reader_too_slow" | "client_too_slow" | "write_failed") => Count::ClientErrors,
        Some("backend_timeout" | "backend_stalled") => Count::Timeouts,
        // A backend that has no more room for us; our own limits have another word.
        Some("server_is_overloaded" | "backend_unavailable" | "backend_paused" | "429") => Count::Overloads,
        Some("rate_limit_unavailable" | "budget_unavailable" | "internal_error") => Count::OwnErrors,
        Some(word) if word.starts_with("backend_") => Count::BackendErrors,
        _ if status == 0 => Count::Abandoned,
        _ if (400..500).contains(&status) => Count::ClientErrors,
        _ if status >= 500 => Count::BackendErrors,
        // Words for statuses that a backend gave.
        Some("4xx" | "400" | "401" | "403" | "404" | "408" | "413" | "422") => Count::ClientErrors,
        Some(_) => Count::BackendErrors,
        None => Count::Good,
    }
}

fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Answered(status) => status,
        // Its word says it all; a span without either was let go.
        Outcome::Refused(_) => 200,
        Outcome::LetGo => 0,
    }
}

fn word(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Refused(word) => Some(word),
        Outcome::Answered(_) | Outcome::LetGo => None,
    }
}

fn tokens(charge: Option<&Charge>) -> (u64, u64, Option<Source>) {
    match charge.and_then(Charge::get) {
        Some(charged) => (charged.tokens.input, charged.tokens.output, Some(charged.source)),
        None => (0, 0, None),
    }
}

fn short(name: &Arc<str>) -> Arc<str> {
    if name.len() <= MAX_NAME_BYTES { name.clone() } else { OTHER.into() }
}

fn ends(span: &Span) -> Duration {
    span.began + span.took.unwrap_or_default()
}

fn parts(record: &Record, seen: &Seen) -> Vec<(&'static str, f64)> {
    if is_follower(seen) {
        return vec![(part::FOLLOWING, record.took.as_secs_f64())];
    }
    let mut parts = Vec::with_capacity(record.spans.len() + 4);
    let mut calls = Calls::default();
    for span in &record.spans {
        match span.called.as_deref() {
            Some(called) => {
                let first = span.began + called.first_chunk.unwrap_or_else(|| span.took.unwrap_or_default());
                let waiting = calls.pass(span.began, first.min(record.took));
                calls.waiting += waiting;
                let last = called.last_chunk.map_or(first, |last| span.began + last);
                let generating = calls.pass(first, last.min(record.took));
                calls.generating += generating;
                calls.end = calls.end.max(ends(span));
                calls.any = true;
            }
            None => parts.push((span.name, own(span, &record.spans).as_secs_f64())),
        }
    }
    if calls.any {
        parts.push((part::WAITING, calls.waiting.as_secs_f64()));
        parts.push((part::GENERATING, calls.generating.as_secs_f64()));
    }
    let outermost = record.spans.first();
    let over = outermost.map_or(record.took, ends).max(calls.end).min(record.took);
    let client = outermost.map_or(Duration::ZERO, |first| first.began) + (record.took - over);
    parts.push((part::CLIENT, client.as_secs_f64()));
    let known: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
    parts.push((part::OTHER, (record.took.as_secs_f64() - known).max(0.0)));
    parts
}

/// The time of calls, each moment of it once.
#[derive(Default)]
struct Calls {
    waiting: Duration,
    generating: Duration,
    until: Duration,
    end: Duration,
    any: bool,
}

impl Calls {
    /// What of this while has not been counted yet.
    fn pass(&mut self, from: Duration, to: Duration) -> Duration {
        let more = to.saturating_sub(from.max(self.until));
        self.until = self.until.max(to);
        more
    }
}

/// A span's time without that of the spans right below it.
pub fn own(span: &Span, spans: &[Span]) -> Duration {
    let (mut until, mut below) = (span.began, Duration::ZERO);
    // Spans stand in the order in which they began.
    for child in spans.iter().filter(|child| child.parent == span.id) {
        let end = ends(child).min(ends(span));
        below += end.saturating_sub(child.began.max(until));
        until = until.max(end);
    }
    span.took.unwrap_or_default().saturating_sub(below)
}
