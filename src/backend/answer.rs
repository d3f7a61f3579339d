//! A backend's answer into a reply: whole if it is plain, event by event if it is a stream.
//!
//! The head of a stream waits for its first event, so that a backend that fails before it has said
//! anything is refused with a status of its own and not with a broken 200.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use outrigger_filters::reply::Kind;
use outrigger_filters::sse::Splitter;
use outrigger_filters::{Ask, Broken, Event, Events, Reason, Refusal, Reply};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::time::Instant;

use super::wire::Wire;
use super::{Answering, Deadlines, allowed_headers};

/// A plain answer up to this size is read whole before its head is given on; a larger one is streamed.
const WHOLE_BYTES: usize = 4 * 1024 * 1024;

/// Where a connection goes when its answer is complete.
pub struct Home {
    pub wire: Arc<Wire>,
    pub peer: Arc<HttpPeer>,
}

pub async fn read(answering: Answering, ask: &Ask, deadlines: Deadlines) -> Result<Reply, Refusal> {
    let Answering { session, home, begun } = answering;
    let Some(head) = session.response_header() else { return Err(Reason::BackendNonsense.into()) };
    let (status, headers) = (head.status, allowed_headers(&head.headers));
    let (framing, streams) = (Framing::of(head), is_event_stream(&head.headers));
    let source = Source {
        session,
        home,
        framing,
        first_until: begun + deadlines.until_head(ask),
        gap: deadlines.token_gap,
        flowing: false,
    };
    if !streams {
        return plain(source, status, headers).await;
    }
    let mut relay = Relay { source: Some(source), splitter: Splitter::default(), ready: VecDeque::new() };
    match relay.next().await {
        Some(Ok(first)) => relay.ready.push_front(first),
        Some(Err(broken)) => return Err(before_the_first_event(broken)),
        None => {}
    }
    Ok(Reply::events(status, headers, into_events(relay)))
}

fn before_the_first_event(broken: Broken) -> Refusal {
    let reason = match broken {
        Broken::TokenGap => Reason::FirstTokenTimeout,
        _ => Reason::BackendCut,
    };
    Refusal::because(reason, "the stream ended before its first event")
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream") && !encoded
}

/// How the end of a body is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// By a length, by chunks, or by HTTP/2: a cut is seen.
    Framed,
    /// By the connection's end, which a cut looks like too.
    UntilClose,
}

impl Framing {
    fn of(head: &pingora::http::ResponseHeader) -> Self {
        let framed = head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
        if framed || head.version == Version::HTTP_2 { Framing::Framed } else { Framing::UntilClose }
    }
}

/// The body's bytes under their deadlines, and the connection that they come on.
struct Source {
    session: HttpSession,
    home: Home,
    framing: Framing,
    first_until: Instant,
    gap: Duration,
    /// Whether the answer has really begun: comments before it do not count.
    flowing: bool,
}

impl Source {
    async fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        if !self.flowing {
            let left = self.first_until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Broken::TokenGap);
            }
            self.session.set_read_timeout(Some(left));
        }
        self.session.read_response_body().await.map_err(|error| broken(&error))
    }

    /// From now on only the gap between two pieces counts.
    fn flows(&mut self) {
        if !self.flowing {
            self.flowing = true;
            self.session.set_read_timeout(Some(self.gap));
        }
    }

    /// Gives the connection back: its answer is complete.
    async fn release(self) {
        self.home.wire.release(self.session, &self.home.peer).await;
    }
}

fn broken(error: &Error) -> Broken {
    match error.etype() {
        ErrorType::ReadTimedout => Broken::TokenGap,
        _ => Broken::BackendCut,
    }
}

/// An event stream on its way; dropping it cancels the generation.
struct Relay {
    /// Gone when the stream has ended.
    source: Option<Source>,
    splitter: Splitter,
    ready: VecDeque<Event>,
}

impl Relay {
    async fn next(&mut self) -> Option<Result<Event, Broken>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if let Some(source) = &mut self.source
                    && event.kind != Kind::Comment
                {
                    source.flows();
                }
                return Some(Ok(event));
            }
            match self.source.as_mut()?.read().await {
                Ok(Some(bytes)) => self.splitter.push(bytes, &mut self.ready),
                Ok(None) => {
                    if let Err(broken) = self.finish().await {
                        return Some(Err(broken));
                    }
                }
                Err(broken) => {
                    self.source = None;
                    return Some(Err(broken));
                }
            }
        }
    }

    /// The body has ended. An end that a cut looks like too counts only behind the stream's last event.
    async fn finish(&mut self) -> Result<(), Broken> {
        self.ready.extend(self.splitter.finish());
        let Some(source) = self.source.take() else { return Ok(()) };
        if source.framing == Framing::UntilClose && !self.splitter.has_finished() {
            self.ready.clear();
            return Err(Broken::BackendCut);
        }
        source.release().await;
        Ok(())
    }
}

fn into_events(relay: Relay) -> Events {
    Box::pin(stream::unfold(relay, |mut relay| async move {
        let event = relay.next().await?;
        Some((event, relay))
    }))
}

/// Reads an answer that is no event stream: whole, or from some size on in pieces.
async fn plain(mut source: Source, status: StatusCode, headers: HeaderMap) -> Result<Reply, Refusal> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        match source.read().await {
            Ok(None) => break,
            Ok(Some(bytes)) if first.is_empty() => first = bytes,
            Ok(Some(bytes)) => {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&bytes);
                if rest.len() > WHOLE_BYTES {
                    return Ok(Reply::events(status, headers, pieces(source, rest.freeze())));
                }
            }
            Err(Broken::TokenGap) => return Err(Refusal::because(Reason::AnswerTimeout, "while reading the body")),
            Err(broken) => return Err(Refusal::because(Reason::BackendCut, broken)),
        }
    }
    let body = if rest.is_empty() { first } else { rest.freeze() };
    if source.framing == Framing::UntilClose && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
        return Err(Refusal::because(Reason::BackendCut, "the connection ended in the middle of the JSON"));
    }
    source.release().await;
    Ok(Reply::whole(status, headers, body))
}

/// A large plain answer, piece by piece, what has been read of it first.
fn pieces(mut source: Source, read: Bytes) -> Events {
    source.flows();
    Box::pin(stream::unfold((Some(source), Some(read)), |(source, read)| async move {
        let piece = |bytes| Event { bytes, kind: Kind::Bytes };
        if let Some(bytes) = read {
            return Some((Ok(piece(bytes)), (source, None)));
        }
        let mut source = source?;
        match source.read().await {
            Ok(Some(bytes)) => Some((Ok(piece(bytes)), (Some(source), None))),
            Ok(None) => {
                source.release().await;
                None
            }
            Err(broken) => Some((Err(broken), (None, None))),
        }
    }))
}
