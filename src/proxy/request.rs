//! One request while it is here: what is known of it, and that it counts as being answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::HeaderValue;
use outrigger_filters::labels;
use outrigger_filters::rate_limit::Permit;
use outrigger_filters::trace::{Seen, Trace};
use pingora::Error;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::backend::Upstream;
use crate::memory;
use crate::serving::Serving;
use crate::telemetry::{self, Tokens};

/// How many requests are being answered now.
#[derive(Clone, Default)]
pub struct Active(Arc<AtomicUsize>);

impl Active {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub fn enter(&self) -> Busy {
        self.0.fetch_add(1, Ordering::AcqRel);
        memory::request_begins();
        Busy(self.clone())
    }
}

/// Held while a request is being answered.
pub struct Busy(Active);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
        memory::request_ends();
    }
}

/// What is known of one request.
pub struct Request {
    /// The client's own, or one of ours.
    pub id: HeaderValue,
    /// What held when it began, and holds for it until its end.
    pub serving: Arc<Serving>,
    pub tokens: Tokens,
    pub trace: Trace,
    /// What is told of it when it is over.
    pub seen: Seen,
    /// Whether a stream is to say at its end what it cost.
    pub asks_cost: bool,
    /// Bytes of a passed body so far.
    pub passed_bytes: usize,
    /// What a passed request holds of the limits, and where it goes.
    pub permit: Option<Permit>,
    pub upstream: Option<Arc<Upstream>>,
    /// The process that has taken this one's place answers it.
    pub is_relayed: bool,
    _busy: Busy,
}

/// A client's id is kept if it is short and plain.
fn request_id(head: &RequestHeader) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        (1..=128).contains(&value.len()) && value.as_bytes().iter().all(|byte| (0x21..0x7f).contains(byte))
    };
    match head.headers.get("x-request-id").filter(plain) {
        Some(id) => id.clone(),
        None => {
            let id = format!("req_{:032x}", fastrand::u128(..));
            HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("req_0"))
        }
    }
}

/// An id that can be told: a client might put its key there.
fn told_id(id: &HeaderValue) -> &str {
    id.to_str().ok().filter(|id| labels::is_harmless(id)).unwrap_or("withheld")
}

impl Request {
    pub fn begin(head: &RequestHeader, serving: Arc<Serving>, trace: Trace, busy: Busy) -> Self {
        let id = request_id(head);
        Request {
            trace,
            seen: Seen { request_id: told_id(&id).into(), ..Seen::default() },
            id,
            serving,
            tokens: Tokens::begin(),
            asks_cost: false,
            passed_bytes: 0,
            permit: None,
            upstream: None,
            is_relayed: false,
            _busy: busy,
        }
    }

    /// Tells what its client saw. The first word counts.
    pub fn is_answered(&mut self, session: &Session, error: Option<&Error>) {
        let client = session.as_downstream();
        self.trace.answered(Seen {
            status: session.response_written().map_or(0, |head| head.status.as_u16()),
            error: self.seen.error.or(error.map(telemetry::word)),
            first_token: self.tokens.to_first(),
            per_token: self.tokens.per_token(),
            request_bytes: client.body_bytes_read() as u64,
            answer_bytes: client.body_bytes_sent() as u64,
            ..std::mem::take(&mut self.seen)
        });
    }
}
