//! A request's body, read whole within its size and its time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use outrigger_filters::{Reason, Refusal};
use pingora::proxy::Session;
use pingora::time::timeout;
use pingora::{Error, ErrorType};

use crate::config::Server;

/// Why a request did not become an ask.
pub enum Interrupted {
    /// It is answered with a no.
    Refused(Refusal),
    /// The client has gone.
    Gone,
}

/// Memory taken at once for a body that only says how large it will be.
const TRUSTED_BYTES: usize = 1024 * 1024;

pub async fn read(session: &mut Session, server: &Server) -> Result<Bytes, Interrupted> {
    let limit = server.max_body_bytes.get();
    let length = announced(session);
    if length.is_some_and(|length| length > limit) {
        return Err(Reason::BodyTooLarge { limit }.into());
    }
    continue_if_asked(session).await?;
    match timeout(server.body_timeout_ms.duration(), collect(session, limit, length)).await {
        Ok(read) => read,
        Err(_) => Err(Reason::BodyTimeout.into()),
    }
}

fn announced(session: &Session) -> Option<usize> {
    let value = session.req_header().headers.get(CONTENT_LENGTH)?;
    // What is no number does not get as far as this: Pingora refuses it.
    value.to_str().ok()?.trim().parse().ok()
}

/// Pingora answers `Expect` only while it proxies; here nobody else would.
async fn continue_if_asked(session: &mut Session) -> Result<(), Interrupted> {
    match session.req_header().headers.get(EXPECT) {
        None => Ok(()),
        Some(expected) if expected.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            session.as_downstream_mut().write_continue_response().await.map_err(|_| Interrupted::Gone)
        }
        Some(_) => Err(Reason::ExpectationFailed.into()),
    }
}

async fn collect(session: &mut Session, limit: usize, length: Option<usize>) -> Result<Bytes, Interrupted> {
    let Some(first) = next(session).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(Reason::BodyTooLarge { limit }.into());
    }
    if length == Some(first.len()) {
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(length.unwrap_or(0).clamp(first.len(), TRUSTED_BYTES.max(first.len())));
    body.extend_from_slice(&first);
    while let Some(chunk) = next(session).await? {
        if body.len() + chunk.len() > limit {
            return Err(Reason::BodyTooLarge { limit }.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

async fn next(session: &mut Session) -> Result<Option<Bytes>, Interrupted> {
    session.as_downstream_mut().read_request_body().await.map_err(|error| interrupted(&error))
}

/// How long a client may go on sending a body that has been refused, and how long it may pause.
/// They are nginx's `lingering_time` and `lingering_timeout`.
const READ_OUT: Duration = Duration::from_secs(30);
const READ_OUT_PAUSE: Duration = Duration::from_secs(5);

/// Reads what a client still sends after it has had its answer, and throws it away.
///
/// To close an HTTP/1 connection that holds unread bytes resets it, and the reset overtakes the answer:
/// a client that sends its whole body before it reads would never learn why it was refused.
pub async fn read_out(session: &mut Session) {
    if session.as_downstream().as_http1().is_none() {
        return;
    }
    let rest = async { while matches!(timeout(READ_OUT_PAUSE, next(session)).await, Ok(Ok(Some(_)))) {} };
    // Whether it ended or was cut off, the connection is closed behind it.
    let _ = timeout(READ_OUT, rest).await;
}

fn interrupted(error: &Error) -> Interrupted {
    match error.etype() {
        ErrorType::ReadTimedout => Reason::BodyTimeout.into(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error => Interrupted::Gone,
        _ => Reason::BadRequest("its body is not framed as HTTP says").into(),
    }
}
