//! Between a client's session and the chain: a request into an ask, a reply into bytes.

mod body;
mod write;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderName};
use outrigger_filters::ask::Sharing;
use outrigger_filters::dedup;
use outrigger_filters::{Ask, Reason, Refusal, Route, Tenant};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use crate::config::Server;
use crate::identity;
use crate::proxy::Request;
pub use body::{Interrupted, read as read_body, read_out};
pub use write::{refusal as write_refusal, reply as write_reply};

/// A client that has gone is owed nothing: its connection is closed, and nothing is logged as an error.
pub fn gone() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the client has gone").into_down()
}

/// Reads the request whole and parses it once.
pub async fn read_ask(
    session: &mut Session,
    route: Route,
    tenant: Tenant,
    request: &Request,
    server: &Server,
) -> Result<Ask, Interrupted> {
    let head = session.req_header();
    if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Reason::UnsupportedEncoding.into());
    }
    let sharing = sharing(&head.headers)?;
    let target = head.uri.path_and_query().map_or(route.path(), |target| target.as_str()).to_owned();
    let headers = forwarded(&head.headers, request, &server.forwarded_headers);
    let body = read_body(session, server).await?;
    Ok(Ask::read(route, tenant, target, headers, body, sharing)?)
}

/// `x-outrigger-dedup: off` keeps a request out of any flight.
fn sharing(headers: &HeaderMap) -> Result<Sharing, Reason> {
    match headers.get(dedup::HEADER).map(|value| value.as_bytes()) {
        None | Some(b"on") => Ok(Sharing::Allowed),
        Some(b"off") => Ok(Sharing::Refused),
        Some(_) => Err(Reason::BadRequest("the header `x-outrigger-dedup` is neither `on` nor `off`")),
    }
}

/// The request headers that reach the backend: those that the APIs know, and no connection's own.
fn forwarded(from: &HeaderMap, request: &Request, more: &[HeaderName]) -> HeaderMap {
    const NAMES: [&str; 10] = [
        "authorization",
        "content-type",
        "user-agent",
        identity::API_KEY,
        "api-key",
        "accept",
        "idempotency-key",
        "traceparent",
        "tracestate",
        "x-request-id",
    ];
    const PREFIXES: [&str; 3] = ["openai-", "anthropic-", "x-gateway-inference-"];
    let allowed = |name: &HeaderName| {
        let text = name.as_str();
        NAMES.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) || more.contains(name)
    };
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in from.iter().filter(|(name, _)| allowed(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers.insert("x-request-id", request.id.clone());
    headers
}

impl From<Refusal> for Interrupted {
    fn from(refusal: Refusal) -> Self {
        Interrupted::Refused(refusal)
    }
}

impl From<Reason> for Interrupted {
    fn from(reason: Reason) -> Self {
        Interrupted::Refused(reason.into())
    }
}

/// Waits until the client has gone. Never ends while it is there.
pub async fn until_gone(session: &mut Session) {
    while session.as_downstream_mut().read_body_or_idle(true).await.is_ok() {}
}
