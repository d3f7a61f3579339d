//! Asks a backend for what is no generation: whether it is well, and what its engine has to do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONNECTION, HOST};
use outrigger_filters::breaker::Reach;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;

use super::peer::{Peers, Upstream};
use super::wire::Line;
use super::{put_key, read_head};
use crate::serving::Current;

/// What is read of an answer at most.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The backends that there are now.
pub struct Reaching(pub Arc<Current>);

#[async_trait]
impl Reach for Reaching {
    async fn get(&self, backend: usize, path: &str, within: Duration) -> Result<(StatusCode, Bytes), String> {
        let upstream = self.0.load().backends.at(backend).cloned().ok_or("there is no such backend")?;
        match tokio::time::timeout(within, get(&upstream, path)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{path} did not answer in {} ms", within.as_millis())),
        }
    }
}

/// On a connection of its own, so that it finds out whether the backend takes one.
async fn get(upstream: &Upstream, path: &str) -> Result<(StatusCode, Bytes), String> {
    let peers = upstream.peer().await.map_err(|error| error.to_string())?;
    let outcome = exchange(upstream, &peers, path).await;
    outcome.map_err(|error| format!("{path}: {}", error.etype().as_str()))
}

async fn exchange(upstream: &Upstream, peers: &Peers, path: &str) -> Result<(StatusCode, Bytes)> {
    let (line, _) = upstream.wire.line(peers, true).await?;
    let mut session = match line {
        Line::Http1(stream) => HttpSession::H1(Http1Session::new_with_options(stream, &*peers.usual)),
        Line::Negotiated(session) => *session,
    };
    let target = format!("{}{path}", upstream.url.prefix);
    let mut head = RequestHeader::build_no_case("GET", target.as_bytes(), Some(4))?;
    head.insert_header(HOST, upstream.host.clone())?;
    if let Some(key) = &upstream.api_key {
        put_key(&mut head, key, false)?;
    }
    if matches!(session, HttpSession::H1(_)) {
        head.insert_header(CONNECTION, "close")?;
    }
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    read_head(&mut session).await?;
    let status = session.response_header().map_or(StatusCode::BAD_GATEWAY, |head| head.status);
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_response_body().await? {
        body.extend_from_slice(&piece);
        if body.len() > MOST_BYTES {
            break;
        }
    }
    Ok((status, body.freeze()))
}
