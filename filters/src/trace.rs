//! One request's way: which room had it when, and what came of it.
//!
//! The runner notes every room and every call here, the room `latency` what it sees of an answer as it goes by, and
//! whoever answers the client what that client saw. When the last hand lets go, the whole is given to the [`Sink`]:
//! then nobody can add to it any more. It is kept for each request, sampled or not, so that the slow ones can be told of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tokio::time::Instant;

use crate::ask::{Route, Tenant};
use crate::charge::Charge;

/// Takes what is over. It must not wait: it is called where requests are answered.
pub trait Sink: Send + Sync + 'static {
    fn take(&self, record: Record);
}

/// Spans kept of one request: a call that is tried again and again must not fill memory.
pub const MAX_SPANS: usize = 64;

/// A request that is over.
#[derive(Debug)]
pub struct Record {
    /// The request's own span: its trace, its id, whether it is sampled.
    pub context: SpanContext,
    /// The span of whoever asked; `SpanId::INVALID` where nobody said.
    pub parent: SpanId,
    pub began: SystemTime,
    /// Until whoever answers the client was done with it.
    pub took: Duration,
    /// In the order in which they began: rooms, calls.
    pub spans: Vec<Span>,
    /// The request whose answer it shares.
    pub link: Option<Place>,
    /// None where nobody said: the request was lost inside.
    pub seen: Option<Seen>,
}

/// A room's hold on a request until it had the head of the answer, or a call to a backend until its end.
#[derive(Clone, Debug)]
pub struct Span {
    /// The room's name, or [`crate::filter::BACKEND`].
    pub name: &'static str,
    pub id: SpanId,
    pub parent: SpanId,
    /// Since the request began.
    pub began: Duration,
    /// None while it goes on; in a [`Record`] what was let go has the time until then.
    pub took: Option<Duration>,
    pub outcome: Outcome,
    /// What is known of a call to a backend.
    pub called: Option<Box<Called>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Let go before there was one.
    #[default]
    LetGo,
    /// With this status.
    Answered(u16),
    /// With this reason's word.
    Refused(&'static str),
}

/// A call to a backend.
#[derive(Clone, Debug, Default)]
pub struct Called {
    /// The backend's place among the settings' `[[backends]]`.
    pub backend: usize,
    /// The calls that were made for the answer, this one among them.
    pub attempt: u32,
    /// As labels name it.
    pub model: Option<Arc<str>>,
    pub streams: bool,
    /// Since the call began.
    pub first_chunk: Option<Duration>,
    pub last_chunk: Option<Duration>,
    pub chunks: u32,
    /// Why it did not end well; none where it did.
    pub error: Option<&'static str>,
    /// What it used and cost, at its end or a little after.
    pub charge: Option<Charge>,
    /// Of requests that spans are told of.
    pub told: Option<Box<Told>>,
}

/// What was wished of a backend, and what its answer says of itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    pub choices: Option<u64>,
    pub said: Said,
}

#[derive(Clone, Debug, Default)]
pub struct Said {
    pub id: Option<Box<str>>,
    pub model: Option<Box<str>>,
    pub finish_reasons: Vec<&'static str>,
}

/// What a client saw, and what is known of its question: nothing that it wrote but its request's id and a checked
/// model name.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub request_id: Box<str>,
    /// None where the request did not get as far as the chain.
    pub route: Option<Route>,
    /// The pattern of the settings that let it pass without the chain.
    pub passed: Option<Box<str>>,
    pub tenant: Option<Tenant>,
    /// As labels name it.
    pub model: Option<Arc<str>>,
    pub streams: bool,
    /// What the client was answered with; 0 where it had gone.
    pub status: u16,
    /// Why it did not end well; none where it did.
    pub error: Option<&'static str>,
    /// Since the request began.
    pub first_token: Option<Duration>,
    /// The mean time of a token behind the first.
    pub per_token: Option<Duration>,
    pub request_bytes: u64,
    pub answer_bytes: u64,
    /// HIT, MISS and so on.
    pub cache: Option<&'static str>,
    /// leader, follower.
    pub dedup: Option<&'static str>,
    /// What the answer cost, as its client was told.
    pub charge: Option<Charge>,
}

/// A request on its way; all copies are one.
#[derive(Clone)]
pub struct Trace(Arc<Way>);

struct Way {
    id: TraceId,
    span: SpanId,
    parent: SpanId,
    flags: Option<TraceFlags>,
    began: SystemTime,
    clock: Instant,
    sink: Option<Arc<dyn Sink>>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    spans: Vec<Span>,
    seen: Option<Seen>,
    took: Option<Duration>,
    link: Option<Place>,
}

impl Notes {
    fn last_call(&self, within: SpanId) -> Option<usize> {
        let parent = |id| self.spans.iter().find(|span| span.id == id).map(|span| span.parent);
        let is_within = |span: &Span| {
            let mut above = span.parent;
            // A room has its place before whatever it calls, so that this ends.
            while above != within {
                match parent(above) {
                    Some(next) => above = next,
                    None => return false,
                }
            }
            true
        };
        self.spans.iter().rposition(|span| span.called.is_some() && is_within(span))
    }
}

/// A span among all traces: what a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub trace: TraceId,
    pub span: SpanId,
    pub flags: TraceFlags,
    /// Whether the trace was another's before: only then what it says of its state holds.
    pub is_continued: bool,
}

impl Place {
    /// As W3C's Trace Context writes it.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8())
    }
}

impl Trace {
    /// Of a request that comes now, from this span, if anybody said. Its flags are none where nobody is told of spans.
    pub fn begin(id: TraceId, parent: SpanId, flags: Option<TraceFlags>, sink: Arc<dyn Sink>) -> Self {
        Trace::new(id, parent, flags, Some(sink))
    }

    /// Of nobody's interest.
    pub fn none() -> Self {
        Trace::new(TraceId::INVALID, SpanId::INVALID, None, None)
    }

    #[expect(clippy::disallowed_methods, reason = "a date: spans have one")]
    fn new(id: TraceId, parent: SpanId, flags: Option<TraceFlags>, sink: Option<Arc<dyn Sink>>) -> Self {
        Trace(Arc::new(Way {
            id,
            span: new_span(),
            parent,
            flags,
            began: SystemTime::now(),
            clock: Instant::now(),
            sink,
            notes: Mutex::new(Notes { spans: Vec::with_capacity(10), ..Notes::default() }),
        }))
    }

    pub fn id(&self) -> TraceId {
        self.0.id
    }

    /// The request's own span.
    pub fn span(&self) -> SpanId {
        self.0.span
    }

    /// Whether spans are told of it.
    pub fn is_sampled(&self) -> bool {
        self.0.flags.is_some_and(|flags| flags.is_sampled())
    }

    /// One of its spans, for others to be children of; none where nobody is told of spans.
    pub fn place(&self, span: SpanId) -> Option<Place> {
        let is_continued = self.0.parent != SpanId::INVALID;
        Some(Place { trace: self.0.id, span, flags: self.0.flags?, is_continued })
    }

    /// What its client saw: it is answered. What comes later is not heard.
    pub fn answered(&self, seen: Seen) {
        let took = self.0.clock.elapsed();
        let mut notes = self.0.notes();
        notes.seen.get_or_insert(seen);
        notes.took.get_or_insert(took);
    }

    /// A room, or a call, has it from now on.
    pub(crate) fn enter(&self, name: &'static str, parent: SpanId, called: Option<Box<Called>>) -> Entered {
        let (id, began) = (new_span(), self.0.clock.elapsed());
        let mut notes = self.0.notes();
        let place = (notes.spans.len() < MAX_SPANS).then_some(notes.spans.len());
        if place.is_some() {
            notes.spans.push(Span { name, id, parent, began, took: None, outcome: Outcome::LetGo, called });
        }
        drop(notes);
        Entered { trace: self.clone(), id, place }
    }

    /// The last call that was made within this span, for whoever sees its answer go by.
    pub fn call(&self, within: SpanId) -> Call {
        let place = self.0.notes().last_call(within);
        Call { trace: self.clone(), place }
    }

    /// This request shares what another one, of this place, is at.
    pub fn link(&self, to: Place) {
        self.0.notes().link = Some(to);
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Trace({})", self.0.id)
    }
}

fn new_span() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

impl Way {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        let elapsed = self.clock.elapsed();
        let Notes { mut spans, seen, took, link } = std::mem::take(&mut *self.notes());
        for span in &mut spans {
            span.took.get_or_insert_with(|| elapsed.saturating_sub(span.began));
        }
        sink.take(Record {
            context: SpanContext::new(self.id, self.span, self.flags.unwrap_or_default(), false, TraceState::NONE),
            parent: self.parent,
            began: self.began,
            took: took.unwrap_or(elapsed),
            spans,
            link,
            seen,
        });
    }
}

/// Held while a room or a call has a request; let go early it says when.
pub(crate) struct Entered {
    trace: Trace,
    pub(crate) id: SpanId,
    /// None where there was no place any more.
    place: Option<usize>,
}

impl Entered {
    /// It has an outcome.
    pub(crate) fn leave(self, outcome: Outcome) {
        self.note(outcome);
    }

    fn note(&self, outcome: Outcome) {
        let now = self.trace.0.clock.elapsed();
        let mut notes = self.trace.0.notes();
        if let Some(span) = self.place.and_then(|place| notes.spans.get_mut(place))
            && span.took.is_none()
        {
            span.took = Some(now.saturating_sub(span.began));
            span.outcome = outcome;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.note(Outcome::LetGo);
    }
}

/// A call whose answer goes by.
pub struct Call {
    trace: Trace,
    place: Option<usize>,
}

impl Call {
    /// Notes what it uses and costs.
    pub fn charged(&self, charge: &Charge) {
        let mut notes = self.trace.0.notes();
        let span = self.place.and_then(|place| notes.spans.get_mut(place));
        if let Some(called) = span.and_then(|span| span.called.as_deref_mut()) {
            called.charge = Some(charge.clone());
        }
    }

    /// Notes what is known of it, and that it is over.
    pub fn over(&self, note: impl FnOnce(&mut Called)) {
        let now = self.trace.0.clock.elapsed();
        let mut notes = self.trace.0.notes();
        let Some(span) = self.place.and_then(|place| notes.spans.get_mut(place)) else { return };
        span.took = Some(now.saturating_sub(span.began));
        if let Some(called) = span.called.as_deref_mut() {
            note(called);
        }
    }
}

#[cfg(test)]
mod tests;
