//! One request onto a pooled connection, and the connection back into its pool.
//!
//! Pingora's HTTP client writes a request's head and its body apart, each with a system call and a
//! wake-up of the backend. Towards a backend that speaks HTTP/1.1 for certain Pingora connects and
//! reads the answer, while the request is written at once and the connection kept in a pool of our
//! own. Where the protocol is negotiated, Pingora's whole client is used, its pool included.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use outrigger_filters::Ask;
use outrigger_filters::ask::Sending;
use outrigger_filters::trace::Place;
use pingora::connectors::http::Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::io::AsyncWriteExt;

use super::peer::{Peers, Upstream};
use super::pool::Pool;
use crate::config::{Backend, Protocol};
use crate::identity::API_KEY;

const TRACEPARENT: &str = "traceparent";
/// Belongs to the trace that it came with.
const TRACESTATE: &str = "tracestate";
/// Idle connections kept to one backend.
const IDLE_CONNECTIONS: usize = 1024;

pub enum Wire {
    Http1(TransportConnector, Arc<Pool>),
    Negotiated(Box<Connector>),
}

/// A connection from the pool or a new one, nothing written on it yet.
pub enum Line {
    Http1(Stream),
    Negotiated(Box<HttpSession>),
}

impl Wire {
    pub fn new(config: &Backend) -> Self {
        let mut options = ConnectorOptions::new(IDLE_CONNECTIONS);
        options.ca_file = config.authorities();
        let http1 =
            |options| Wire::Http1(TransportConnector::new(Some(options)), Pool::new(config.idle_timeout_ms.duration()));
        match config.protocol {
            Protocol::Http1 => http1(options),
            Protocol::Auto if !config.url.tls => http1(options),
            Protocol::Auto | Protocol::Http2 => Wire::Negotiated(Box::new(Connector::new(Some(options)))),
        }
    }

    /// A connection, and whether it has been used before.
    pub async fn line(&self, peers: &Peers, fresh: bool) -> Result<(Line, bool)> {
        match self {
            Wire::Http1(transport, pool) => match if fresh { None } else { pool.take() } {
                Some(stream) => Ok((Line::Http1(stream), true)),
                // Boxed: connecting is rare, and its state is large.
                None => Ok((Line::Http1(Box::pin(transport.new_stream(&*peers.usual)).await?), false)),
            },
            Wire::Negotiated(connector) => {
                let peer = if fresh { &*peers.fresh } else { &*peers.usual };
                let (session, reused) = Box::pin(connector.get_http_session(peer)).await?;
                Ok((Line::Negotiated(Box::new(session)), reused))
            }
        }
    }

    /// Gives a connection back once its answer is complete.
    pub async fn release(&self, session: HttpSession, peer: &HttpPeer) {
        match (self, session) {
            (Wire::Http1(_, pool), HttpSession::H1(mut session)) => {
                session.respect_keepalive();
                if let Some(stream) = session.reuse().await {
                    pool.put(stream);
                }
            }
            (Wire::Negotiated(connector), session) => {
                connector.release_http_session(session, peer, peer.idle_timeout()).await;
            }
            (Wire::Http1(..), _) => {}
        }
    }
}

impl Line {
    /// Writes the request and gives the session to read the answer from.
    ///
    /// A backend may refuse a body before it has it all: then writing fails and its answer is there to
    /// read, so the session comes with the error.
    pub async fn write(self, upstream: &Upstream, letter: &Letter<'_>, peer: &HttpPeer, limit: Duration) -> Written {
        match self {
            Line::Http1(mut stream) => {
                let sent = write_at_once(&mut stream, upstream, letter, limit).await;
                (HttpSession::H1(Http1Session::new_with_options(stream, peer)), sent)
            }
            Line::Negotiated(mut session) => {
                session.set_write_timeout(Some(limit));
                let sent = Box::pin(write_apart(&mut session, upstream, letter)).await;
                (*session, sent)
            }
        }
    }
}

type Written = (HttpSession, Result<()>);

/// What is to be written: an ask, and its body as this backend is to have it.
pub struct Letter<'ask> {
    pub ask: &'ask Ask,
    pub body: Sending,
    /// The call's span, where anybody is told of spans.
    pub place: Option<Place>,
}

async fn write_at_once(stream: &mut Stream, upstream: &Upstream, letter: &Letter<'_>, limit: Duration) -> Result<()> {
    let [first, wish, rest] = letter.body.0.clone();
    let mut request = Bytes::from(head_bytes(upstream, letter)).chain(first).chain(wish).chain(rest);
    let write = async {
        stream.write_all_buf(&mut request).await?;
        stream.flush().await
    };
    match pingora::time::timeout(limit, write).await {
        Ok(written) => written.or_err(ErrorType::WriteError, "while writing the request"),
        Err(_) => Error::e_explain(ErrorType::WriteTimedout, "while writing the request"),
    }
}

async fn write_apart(session: &mut HttpSession, upstream: &Upstream, letter: &Letter<'_>) -> Result<()> {
    let ask = letter.ask;
    let target = format!("{}{}", upstream.url.prefix, ask.target);
    let mut head = RequestHeader::build_no_case("POST", target.as_bytes(), Some(ask.headers.len() + 5))?;
    let mut complete = Ok(true);
    fields(upstream, letter, |name, value| {
        if complete.is_ok() {
            complete = head.append_header(name.to_owned(), value);
        }
    });
    complete?;
    session.write_request_header(Box::new(head)).await?;
    let parts = letter.body.0.iter().filter(|part| !part.is_empty());
    let last = parts.clone().count().saturating_sub(1);
    for (number, part) in parts.enumerate() {
        session.write_request_body(part.clone(), number == last).await?;
    }
    session.finish_request_body().await
}

fn head_bytes(upstream: &Upstream, letter: &Letter<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    for part in ["POST ", &upstream.url.prefix, &letter.ask.target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    fields(upstream, letter, |name, value| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    });
    head.extend_from_slice(b"\r\n");
    head
}

/// Each header field that the backend gets. Values come from parsed heads and hold no line ends.
fn fields(upstream: &Upstream, letter: &Letter<'_>, mut put: impl FnMut(&str, &[u8])) {
    let ask = letter.ask;
    put(HOST.as_str(), upstream.host.as_bytes());
    let own_key = upstream.api_key.as_ref();
    let is_key = |name: &HeaderName| *name == AUTHORIZATION || name == API_KEY || name == "api-key";
    let is_ours = |name: &HeaderName| {
        let traced =
            letter.place.is_some_and(|place| name == TRACEPARENT || (name == TRACESTATE && !place.is_continued));
        traced || (own_key.is_some() && is_key(name))
    };
    for (name, value) in ask.headers.iter().filter(|(name, _)| !is_ours(name)) {
        put(name.as_str(), value.as_bytes());
    }
    if let Some(place) = letter.place {
        put(TRACEPARENT, place.traceparent().as_bytes());
    }
    if let Some(key) = own_key {
        // Where that API looks for it.
        match ask.headers.contains_key(API_KEY) {
            true => put(API_KEY, key.as_bytes()),
            false => put(AUTHORIZATION.as_str(), &[b"Bearer ", key.as_bytes()].concat()),
        }
    }
    if !ask.headers.contains_key(CONTENT_TYPE) {
        put(CONTENT_TYPE.as_str(), b"application/json");
    }
    // An answer that is shared must suit every reader.
    put(ACCEPT_ENCODING.as_str(), b"identity");
    put(CONTENT_LENGTH.as_str(), itoa::Buffer::new().format(letter.body.len()).as_bytes());
}
