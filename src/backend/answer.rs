//! A backend's answer into a reply: whole if it is plain, event by event if it is a stream.
//!
//! The head of a stream waits for its first event, so that a backend that fails before it has said
//! anything is refused with a status of its own and not with a broken 200.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use outrigger_filters::reply::Kind;
use outrigger_filters::sse::Splitter;
use outrigger_filters::{Ask, Batch, Broken, Deadlines, Event, Events, Reason, Refusal, Reply};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::time::{Instant, Sleep, sleep_until};

use super::wire::Wire;
use super::{Answering, allowed_headers, until_head};

/// A plain answer up to this size is read whole before its head is given on; a larger one is streamed.
const WHOLE_BYTES: usize = 4 * 1024 * 1024;

/// Where a connection goes when its answer is complete.
pub struct Home {
    pub wire: Arc<Wire>,
    pub peer: Arc<HttpPeer>,
}

pub async fn read(answering: Answering, ask: &Ask, deadlines: Deadlines) -> Result<Reply, Refusal> {
    let Answering { mut session, home, begun } = answering;
    let Some(head) = session.response_header() else { return Err(Reason::BackendNonsense.into()) };
    let (status, headers) = (head.status, allowed_headers(&head.headers));
    let (framing, streams) = (Framing::of(head), is_event_stream(&head.headers));
    session.set_read_timeout(None);
    let until = begun + until_head(deadlines, ask);
    let end = begun + if streams { deadlines.stream } else { deadlines.whole };
    let source = Box::new(Source { session, home, framing, until, end, gap: None, alarm: None });
    match streams {
        true => {
            let choices = ask.question.choices.unwrap_or(1).max(1);
            Box::pin(streamed(source, status, headers, deadlines.token_gap, choices)).await
        }
        false => plain(source, status, headers, deadlines.token_gap).await,
    }
}

async fn streamed(
    source: Box<Source>,
    status: StatusCode,
    headers: HeaderMap,
    gap: Duration,
    choices: u64,
) -> Result<Reply, Refusal> {
    let mut relay =
        Relay { source: Some(source), splitter: Splitter::default(), gap, must_conclude: status.is_success(), choices };
    let first = match relay.next().await {
        Some(Ok(batch)) => Some(batch),
        Some(Err(broken)) => return Err(before_the_first_event(broken)),
        None => None,
    };
    let rest = stream::unfold((first, relay), |(first, mut relay)| async move {
        let batch = match first {
            Some(batch) => Ok(batch),
            None => relay.next().await?,
        };
        Some((batch, (None, relay)))
    });
    Ok(Reply::events(status, headers, Box::pin(rest)))
}

fn before_the_first_event(broken: Broken) -> Refusal {
    let reason = match broken {
        Broken::TokenGap | Broken::TooLong => Reason::FirstTokenTimeout,
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
    /// When the next piece must be there.
    until: Instant,
    /// When all of it must be there.
    end: Instant,
    /// The time between two pieces, once the answer has really begun.
    gap: Option<Duration>,
    /// Made when a read has to wait, and set anew only when it goes off too early: most pieces come
    /// long before, and a timer for each would cost more than the rest of the reading.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Source {
    async fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        let late = if self.until < self.end { Broken::TokenGap } else { Broken::TooLong };
        let Source { session, until, end, alarm, gap, .. } = self;
        let mut read = pin!(session.read_response_body());
        let outcome = poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Ready(read) => Poll::Ready(read.map_err(|error| broken(&error))),
            Poll::Pending => ready_when(alarm, *until, context).map(|()| Err(late)),
        })
        .await;
        if let Some(gap) = gap {
            *until = (Instant::now() + *gap).min(*end);
        }
        outcome
    }

    /// From now on the gap between two pieces counts: the answer has really begun.
    fn flows(&mut self, gap: Duration) {
        if self.gap.is_none() {
            self.gap = Some(gap);
            self.until = (Instant::now() + gap).min(self.end);
        }
    }

    /// Gives the connection back: its answer is complete.
    async fn release(self: Box<Self>) {
        self.home.wire.release(self.session, &self.home.peer).await;
    }
}

fn ready_when(alarm: &mut Option<Pin<Box<Sleep>>>, until: Instant, context: &mut Context<'_>) -> Poll<()> {
    let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
    if alarm.deadline() > until {
        alarm.as_mut().reset(until);
    }
    loop {
        ready!(alarm.as_mut().poll(context));
        if alarm.deadline() >= until {
            return Poll::Ready(());
        }
        alarm.as_mut().reset(until);
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
    source: Option<Box<Source>>,
    splitter: Splitter,
    gap: Duration,
    /// Whether it is an answer of the API, which says that it ends; an error need not.
    must_conclude: bool,
    /// Answers in it, each of which says that it ends.
    choices: u64,
}

impl Relay {
    async fn next(&mut self) -> Option<Result<Batch, Broken>> {
        loop {
            let source = self.source.as_mut()?;
            let mut batch = Batch::new();
            match source.read().await {
                Ok(Some(bytes)) => self.splitter.push(bytes, &mut batch),
                Ok(None) => {
                    if let Err(broken) = self.finish(&mut batch).await {
                        return Some(Err(broken));
                    }
                }
                Err(broken) => {
                    self.source = None;
                    return Some(Err(broken));
                }
            }
            if batch.is_empty() {
                continue;
            }
            // Comments and announcements before the first token do not stop its clock.
            if let Some(source) = &mut self.source
                && batch.iter().any(|event| !matches!(event.kind, Kind::Comment | Kind::Prelude))
            {
                source.flows(self.gap);
            }
            return Some(Ok(batch));
        }
    }

    /// The body has ended. An end that a cut looks like too counts only behind the stream's last event; any other one
    /// behind what says why the text ends.
    async fn finish(&mut self, batch: &mut Batch) -> Result<(), Broken> {
        let last = self.splitter.finish();
        let Some(source) = self.source.take() else { return Ok(()) };
        let whole = match source.framing {
            Framing::UntilClose => self.splitter.has_finished(),
            // A proxy on the way, or the server itself, may end a stream in due form that was cut off: half an answer.
            Framing::Framed => self.splitter.has_concluded(self.choices) || !self.must_conclude,
        };
        if !whole {
            return Err(Broken::BackendCut);
        }
        batch.extend(last);
        source.release().await;
        Ok(())
    }
}

/// Reads an answer that is no event stream: whole, or from some size on in pieces.
async fn plain(
    mut source: Box<Source>,
    status: StatusCode,
    headers: HeaderMap,
    gap: Duration,
) -> Result<Reply, Refusal> {
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
                    source.flows(gap);
                    return Ok(Reply::events(status, headers, pieces(source, rest.freeze())));
                }
            }
            Err(Broken::TokenGap | Broken::TooLong) => {
                return Err(Refusal::because(Reason::AnswerTimeout, "while reading the body"));
            }
            Err(broken) if first.is_empty() => return Err(Refusal::because(Reason::BackendCut, broken)),
            Err(broken) => return Err(Refusal::because(Reason::AnswerCut, broken)),
        }
    }
    let body = if rest.is_empty() { first } else { rest.freeze() };
    if source.framing == Framing::UntilClose && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
        return Err(Refusal::because(Reason::AnswerCut, "the connection ended in the middle of the JSON"));
    }
    source.release().await;
    Ok(Reply::whole(status, headers, body))
}

/// A large plain answer, piece by piece, what has been read of it first.
fn pieces(source: Box<Source>, read: Bytes) -> Events {
    Box::pin(stream::unfold((Some(source), Some(read)), |(source, read)| async move {
        let piece = |bytes| vec![Event { bytes, kind: Kind::Bytes }];
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
