//! The backends behind the chain, called with Pingora's own client.
//!
//! One call is one request on a pooled connection. What a call is given it holds; dropping the reply
//! drops the connection (HTTP/1) or resets the stream (HTTP/2), and that cancels the generation.

mod answer;
mod peer;
mod pool;
mod reach;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use outrigger_filters as filters;
use outrigger_filters::breaker::Fleet;
use outrigger_filters::{Ask, Call, Deadlines, Reason, Refusal, Reply};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::{Error, ErrorType};
use tokio::time::{Instant, timeout_at};

use crate::config;
use crate::identity::API_KEY;
use crate::telemetry::of_error;
pub use peer::Upstream;
pub use reach::Reaching;
use wire::Letter;

/// Names the backend that answered.
const BACKEND_HEADER: &str = "x-outrigger-backend";
/// How many times it was called for one answer, if more than once.
const ATTEMPTS_HEADER: &str = "x-outrigger-attempts";

/// The backends under one generation of settings, by their places; a place whose backend is no more is empty.
pub struct Backends {
    upstreams: Vec<Option<Arc<Upstream>>>,
    fleet: Arc<Fleet>,
}

impl Backends {
    pub fn new(config: &config::Config, fleet: Arc<Fleet>) -> anyhow::Result<Self> {
        let upstreams = config.backends.iter().map(|backend| Ok(Some(Arc::new(Upstream::new(backend)?))));
        Ok(Backends { upstreams: upstreams.collect::<anyhow::Result<_>>()?, fleet })
    }

    /// What these become under other settings. Connections stay where nothing of theirs has changed.
    pub fn renewed<'config>(
        &self,
        backends: impl Iterator<Item = (usize, &'config config::Backend)>,
        fleet: Arc<Fleet>,
    ) -> anyhow::Result<Self> {
        let mut upstreams = Vec::new();
        for (place, backend) in backends {
            upstreams.resize(upstreams.len().max(place + 1), None);
            upstreams[place] = Some(match self.at(place) {
                Some(known) => known.renewed(backend)?,
                None => Arc::new(Upstream::new(backend)?),
            });
        }
        Ok(Backends { upstreams, fleet })
    }

    fn at(&self, place: usize) -> Option<&Arc<Upstream>> {
        self.upstreams.get(place)?.as_ref()
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The model servers that may be asked: those that the active checks and the operator let be, a name with several
    /// addresses as so many.
    pub async fn replicas(&self) -> u32 {
        let welcome = self.fleet.members.iter().filter(|member| member.is_welcome());
        let upstreams = welcome.filter_map(|member| self.at(member.index));
        let addresses = futures::future::join_all(upstreams.map(|upstream| upstream.addresses())).await;
        u32::try_from(addresses.into_iter().sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// The backend of the routes that carry no model name; none where none may be asked.
    pub fn for_passed(&self) -> Option<&Arc<Upstream>> {
        self.at(self.fleet.for_passed()?)
    }

    /// How long a passed request may wait for a byte.
    pub fn whole_deadline(&self) -> Duration {
        self.fleet.whole_deadline()
    }

    /// Sends the request and waits for the head of the answer.
    async fn send(
        &self,
        upstream: &Upstream,
        letter: &Letter<'_>,
        deadlines: Deadlines,
        fresh: bool,
    ) -> Result<Answering, Failed> {
        let ask = letter.ask;
        let peers = upstream.peer().await.map_err(|error| Failed::before_sending(Reason::Unreachable, error))?;
        let connected = upstream.wire.line(&peers, fresh).await;
        let (line, reused) =
            connected.map_err(|error| Failed::before_sending(Reason::Unreachable, of_error(&error)))?;
        let begun = Instant::now();
        let (mut session, sent) = line.write(upstream, letter, &peers.usual, deadlines.first_token).await;
        session.set_read_timeout(Some(until_head(deadlines, ask)));
        // A backend may refuse a body before it has it all: then its answer is there to read.
        match (read_head(&mut session).await, sent) {
            (Ok(()), _) => {
                let home = answer::Home { wire: upstream.wire.clone(), peer: peers.usual };
                Ok(Answering { session, home, begun })
            }
            // A connection of HTTP/2 lives on when a stream on it is reset: that is no dead connection.
            (Err(_), Err(error)) | (Err(error), Ok(())) => {
                Err(Failed::in_exchange(&error, ask, reused && matches!(session, HttpSession::H1(_))))
            }
        }
    }
}

fn until_head(deadlines: Deadlines, ask: &Ask) -> Duration {
    if ask.question.stream { deadlines.first_token } else { deadlines.whole }
}

/// A call whose answer has begun.
struct Answering {
    session: HttpSession,
    home: answer::Home,
    begun: Instant,
}

/// A call that failed before its answer began.
struct Failed {
    refusal: Refusal,
    /// The connection had been idle in the pool and the backend may have closed it meanwhile.
    stale: bool,
}

impl Failed {
    fn before_sending(reason: Reason, why: impl std::fmt::Display) -> Self {
        Failed { refusal: Refusal::because(reason, why), stale: false }
    }

    /// No head in time. Of an answer that is not streamed it comes when all is done.
    const fn late(ask: &Ask) -> Reason {
        if ask.question.stream { Reason::FirstTokenTimeout } else { Reason::AnswerTimeout }
    }

    fn in_exchange(error: &Error, ask: &Ask, reused: bool) -> Self {
        let (reason, dead) = match error.etype() {
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => (Self::late(ask), false),
            ErrorType::InvalidHTTPHeader => (Reason::BackendNonsense, false),
            _ => (Reason::BackendCut, true),
        };
        Failed { refusal: Refusal::because(reason, of_error(error)), stale: reused && dead }
    }
}

#[async_trait]
impl filters::Backend for Backends {
    async fn call(&self, ask: &Ask, call: &Call) -> Result<Reply, Refusal> {
        let upstream = self.at(call.backend).ok_or(Reason::NoSuchModel)?;
        // One deadline for all of it: names, connecting, and heads that come a byte at a time.
        let until = Instant::now() + until_head(call.deadlines, ask);
        let body = if call.include_usage { ask.asking_for_usage() } else { ask.as_it_came() };
        let letter = Letter { ask, body, place: call.place };
        let send = async |fresh| match timeout_at(until, self.send(upstream, &letter, call.deadlines, fresh)).await {
            Ok(sent) => sent,
            Err(_) => Err(Failed::before_sending(Failed::late(ask), "no head came in time")),
        };
        let (answering, attempts) = match send(false).await {
            Ok(answering) => (answering, 1),
            // Once, on a connection of its own, and only while nothing of an answer has come. No budget is asked: there are
            // no more such connections than there were whole answers before.
            Err(failed) if failed.stale => {
                let again = send(true).await;
                (again.map_err(|failed| failed.refusal)?, 2_u32)
            }
            Err(failed) => return Err(failed.refusal),
        };
        let mut reply = answer::read(answering, ask, call.deadlines).await?;
        reply.headers.insert(BACKEND_HEADER, upstream.name.clone());
        if attempts > 1 {
            reply.headers.insert(ATTEMPTS_HEADER, attempts.into());
        }
        Ok(reply)
    }
}

async fn read_head(session: &mut HttpSession) -> pingora::Result<()> {
    loop {
        session.read_response_header().await?;
        match session.response_header() {
            Some(head) if head.status.is_informational() => {}
            Some(_) => return Ok(()),
            None => return Error::e_explain(ErrorType::ReadError, "no head came"),
        }
    }
}

/// Puts the backend's own key in place of the client's, where that API looks for it.
pub fn put_key(head: &mut RequestHeader, key: &HeaderValue, in_api_key: bool) -> pingora::Result<()> {
    head.remove_header(&AUTHORIZATION);
    head.remove_header(API_KEY);
    head.remove_header("api-key");
    if in_api_key {
        return head.insert_header(API_KEY, key.clone());
    }
    let bearer = [b"Bearer ", key.as_bytes()].concat();
    let mut value = HeaderValue::from_bytes(&bearer).map_err(|_| Error::new(ErrorType::InvalidHTTPHeader))?;
    value.set_sensitive(true);
    head.insert_header(AUTHORIZATION, value)
}

/// The headers of an answer that a client gets, from an allow-list: nothing that belongs to one
/// connection, sets a cookie, or might split a response.
fn allowed_headers(from: &HeaderMap) -> HeaderMap {
    const NAMES: [&str; 9] = [
        "content-type",
        "content-encoding",
        "cache-control",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "request-id",
        "ratelimit",
        "ratelimit-policy",
    ];
    const PREFIXES: [&str; 3] = ["x-ratelimit-", "openai-", "anthropic-"];
    let allowed = |name: &str| NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    from.iter().filter(|(name, _)| allowed(name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}
