//! A reply or a refusal onto the wire.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version};
use outrigger_filters::charge::{self, Charge, Charged, Source};
use outrigger_filters::refusal::broken_event;
use outrigger_filters::reply::{Kind, Timing};
use outrigger_filters::{Batch, Body, Broken, End, Event, Events, Reason, Refusal, Reply, Route};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::{gone, until_gone};
use crate::ending::Ending;
use crate::proxy::Request;

type Result<T, E = Box<Error>> = std::result::Result<T, E>;

/// How long a connection that streams share takes to send what was written to one of them, on another worker that is busy.
const SENT: Duration = Duration::from_millis(250);
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Writes an answer to its end, or until the client goes. An answer that breaks ends in a visible
/// error and in `Err`, so that the connection is cut and never closed politely.
pub async fn reply(
    session: &mut Session,
    route: Route,
    request: &mut Request,
    reply: Reply,
    ending: &Ending,
) -> Result<End> {
    let Reply { status, headers, body, timing, charge } = reply;
    let mut head = ResponseHeader::build_no_case(status, Some(headers.len() + 6))?;
    for (name, value) in &headers {
        head.append_header(name, value)?;
    }
    finish_head(&mut head, request, &timing)?;
    match body {
        Body::Whole(bytes) => {
            write_whole(session, head, bytes).await?;
            Ok(End::Complete)
        }
        Body::Events(events) => {
            if session.req_header().version == Version::HTTP_11 {
                // Without it Pingora ends the body with the connection, and does not flush each event.
                head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
            session.as_downstream_mut().write_response_header(Box::new(head)).await?;
            // A header has said it where it was known before: of an answer that is shared or kept.
            let wanted = request.asks_cost && !headers.contains_key(charge::HEADER) && is_event_stream(&headers);
            let bill = charge.filter(|_| wanted).map(Bill);
            match relay(session, request, events, bill, ending).await? {
                Ok(end) => Ok(end),
                Err(broken) => cut(session, route, broken).await,
            }
        }
    }
}

/// Writes a no, in the shape of the route's API.
pub async fn refusal(session: &mut Session, route: Option<Route>, request: &Request, refusal: &Refusal) -> Result<()> {
    let reason = &refusal.reason;
    let mut head = ResponseHeader::build_no_case(reason.status(), Some(8))?;
    head.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/json"))?;
    if let Reason::MethodNotAllowed { allow, .. } = reason {
        head.insert_header(ALLOW, HeaderValue::from_static(allow))?;
    }
    for (name, value) in refusal.headers.iter().flat_map(|headers| headers.iter()) {
        head.append_header(name, value)?;
    }
    finish_head(&mut head, request, &refusal.timing)?;
    write_whole(session, head, reason.body(route).into()).await
}

async fn write_whole(session: &mut Session, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    if head.status != StatusCode::NO_CONTENT {
        head.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    let client = session.as_downstream_mut();
    client.write_response_header(Box::new(head)).await?;
    client.write_response_body(body, true).await
}

fn finish_head(head: &mut ResponseHeader, request: &Request, timing: &Timing) -> Result<()> {
    head.insert_header(REQUEST_ID, request.id.clone())?;
    if let Some(value) = server_timing(timing) {
        head.insert_header(SERVER_TIMING, value)?;
    }
    Ok(())
}

/// Each room's own time until it had the head of the answer, in milliseconds (W3C Server-Timing).
fn server_timing(timing: &Timing) -> Option<HeaderValue> {
    let mut text = BytesMut::with_capacity(128);
    let mut digits = itoa::Buffer::new();
    for (name, own) in timing.own() {
        let micros = u64::try_from(own.as_micros()).unwrap_or(u64::MAX);
        let separator = if text.is_empty() { "" } else { ", " };
        for part in [separator, name, ";dur=", digits.format(micros / 1000), "."] {
            text.extend_from_slice(part.as_bytes());
        }
        let thousandths = micros % 1000;
        text.extend_from_slice(&[100, 10, 1].map(|place| b'0' + (thousandths / place % 10) as u8));
    }
    if text.is_empty() { None } else { HeaderValue::from_maybe_shared(text.freeze()).ok() }
}

/// Writes events as they come, until they end or break.
async fn relay(
    session: &mut Session,
    request: &mut Request,
    mut events: Events,
    mut bill: Option<Bill>,
    ending: &Ending,
) -> Result<Result<End, Broken>> {
    let mut over = std::pin::pin!(ending.over());
    loop {
        let next = tokio::select! {
            biased;
            next = events.next() => next,
            () = until_gone(session) => return Err(gone()),
            // Between two pieces only: after half of one nothing could be said any more.
            () = &mut over => return Ok(Err(Broken::Stopping)),
        };
        match next {
            Some(Ok(mut batch)) => {
                put_before_the_last(&mut bill, &mut batch);
                let bytes = together(request, batch);
                if bytes.is_empty() {
                    continue;
                }
                session.as_downstream_mut().write_response_body(bytes, false).await?;
            }
            Some(Err(broken)) => return Ok(Err(broken)),
            None => {
                let rest = bill.map_or_else(Bytes::new, |bill| bill.comment());
                session.as_downstream_mut().write_response_body(rest, true).await?;
                return Ok(Ok(End::Complete));
            }
        }
    }
}

/// Whether comments may stand in it.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    kind && headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// What a stream cost, for a client that wants to be told.
struct Bill(Charge);

impl Bill {
    fn comment(&self) -> Bytes {
        let words = match self.0.get() {
            Some(Charged { cost: Some(cost), source: Source::Measured, .. }) => cost.to_string(),
            Some(Charged { cost: Some(cost), source: Source::Estimated, .. }) => format!("{cost} estimated"),
            _ => "unknown".to_owned(),
        };
        Bytes::from(format!(": {} {words}\n\n", charge::HEADER))
    }
}

/// Says what it cost where clients still listen: before the event after which nothing follows.
fn put_before_the_last(bill: &mut Option<Bill>, batch: &mut Batch) {
    let Some(place) = batch.iter().position(|event| event.kind == Kind::Last) else { return };
    if let Some(bill) = bill.take() {
        batch.insert(place, Event { bytes: bill.comment(), kind: Kind::Comment });
    }
}

/// What arrived together is written together; what is only for us is not.
fn together(request: &mut Request, mut batch: Batch) -> Bytes {
    batch.retain(|event| event.kind != Kind::Usage);
    if batch.iter().any(|event| event.kind == Kind::Data) {
        request.tokens.saw(batch.len());
    }
    match <[Event; 1]>::try_from(batch) {
        Ok([event]) => event.bytes,
        Err(batch) => {
            let mut bytes = BytesMut::with_capacity(batch.iter().map(|event| event.bytes.len()).sum());
            batch.iter().for_each(|event| bytes.extend_from_slice(&event.bytes));
            bytes.freeze()
        }
    }
}

/// Says in the stream that it broke, and cuts it.
async fn cut(session: &mut Session, route: Route, broken: Broken) -> Result<End> {
    let is_event_stream = session
        .response_written()
        .and_then(|head| head.headers.get(CONTENT_TYPE))
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if is_event_stream {
        let event = Bytes::from(broken_event(broken, route));
        session.as_downstream_mut().write_response_body(event, false).await?;
        if session.req_header().version == Version::HTTP_2 {
            // The stream is reset next, and what its connection has not sent by then is never sent.
            tokio::time::sleep(SENT).await;
        }
    }
    Error::e_explain(ErrorType::new(broken.code()), "the answer broke off").map_err(|error: Box<Error>| error.into_up())
}
