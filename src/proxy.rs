//! The Pingora side: each request is held and sent through the chain, passed on, or refused.

mod relay;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName};
use http::uri::PathAndQuery;
use outrigger_filters::breaker::wishes;
use outrigger_filters::cost;
use outrigger_filters::labels;
use outrigger_filters::rate_limit::Permit;
use outrigger_filters::semantic_cache::steering;
use outrigger_filters::{Reason, Refusal, Route, Tenant};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::backend::{Upstream, put_key};
use crate::downstream::{self, Interrupted};
use crate::ending::Ending;
use crate::form;
use crate::guard::Guarded;
use crate::identity;
use crate::routes::{Fate, fate};
use crate::serving::{Current, Serving};
use crate::telemetry::{self, ServerMetrics};
use crate::upgrade::Turn;
pub use request::{Active, Request};

pub struct Proxy {
    /// What holds now. A request takes it once, at its begin, and keeps to it.
    pub current: Arc<Current>,
    pub metrics: ServerMetrics,
    pub active: Active,
    pub ending: Ending,
    pub turn: Turn,
    /// Where the process is that has taken this one's place, if one can.
    pub next: Option<HttpPeer>,
}

/// The word for a client that went before it was answered.
const ABANDONED: &str = "abandoned";

impl Serving {
    /// Who asks, if he may ask now: before anything of the body is read.
    fn welcome(&self, session: &Session) -> Result<Tenant, Refusal> {
        let tenant = identity::tenant(&self.config.tenants.from, &session.req_header().headers)?;
        let address = relay::client(session);
        self.limiter.guard.check(&tenant, address)?;
        Ok(tenant)
    }

    fn marks(&self, session: &Session) -> HeaderMap {
        let headers = &session.req_header().headers;
        let mark = |name: &HeaderName| Some((name.clone(), headers.get(name)?.clone()));
        self.marks.iter().filter_map(mark).collect()
    }

    /// Whether a request may go through without the chain.
    async fn pass(&self, session: &Session) -> Result<(Permit, Arc<Upstream>), Refusal> {
        let tenant = self.welcome(session)?;
        let limit = self.config.server.max_body_bytes.get();
        if declared_length(session.req_header()).is_some_and(|length| length > limit) {
            return Err(Reason::BodyTooLarge { limit }.into());
        }
        let permit = self.limiter.admit_passed(tenant, &self.marks(session)).await?;
        // Chosen once: the head that is written for it must go to nobody else.
        let upstream = self.backends.for_passed().ok_or(Reason::Unavailable)?.clone();
        Ok((permit, upstream))
    }
}

impl Proxy {
    async fn held(&self, session: &mut Session, route: Route, request: &mut Request) -> Result<()> {
        let serving = request.serving.clone();
        let welcome = serving.welcome(session);
        let wishes = cost::wishes::check(&session.req_header().headers);
        let tenant = match welcome.and_then(|tenant| Ok(wishes.map(|()| tenant)?)) {
            Ok(tenant) => tenant,
            Err(refusal) => return self.refuse(session, request, &refusal).await,
        };
        request.seen.tenant = Some(tenant);
        let read = tokio::select! {
            biased;
            read = downstream::read_ask(session, route, tenant, request, &serving.config.server) => read,
            () = self.ending.over() => Err(Reason::Stopping.into()),
        };
        let ask = match read {
            Ok(mut ask) => {
                ask.marks = serving.marks(session);
                ask.steer(steering(session));
                request.asks_cost = cost::wishes::asks_cost(ask.steering());
                request.seen.streams = ask.question.stream;
                Arc::new(ask)
            }
            Err(Interrupted::Gone) => {
                request.seen.error = Some(ABANDONED);
                return Err(downstream::gone());
            }
            Err(Interrupted::Refused(refusal)) => return self.refuse(session, request, &refusal).await,
        };
        let outcome = tokio::select! {
            biased;
            outcome = serving.chain.run_traced(ask.clone(), request.trace.clone()) => outcome,
            () = downstream::until_gone(session) => {
                request.seen.model = Some(self.metrics.failed(&ask, &request.tokens, ABANDONED));
                request.seen.error = Some(ABANDONED);
                return Err(downstream::gone());
            }
            () = self.ending.over() => Err(Reason::Stopping.into()),
        };
        match outcome {
            Ok(reply) => {
                let status = reply.status;
                telemetry::note(&mut request.seen, &reply);
                let end = downstream::write_reply(session, route, request, reply, &self.ending).await;
                let told = end.as_ref().map_err(|error| &**error);
                request.seen.model = Some(self.metrics.ended(&ask, &request.tokens, status, told));
                request.seen.error = match &end {
                    Ok(_) if status.is_success() => None,
                    Ok(_) => Some(labels::status(status.as_u16())),
                    Err(error) => Some(telemetry::word(error)),
                };
                end.map(|_| ())
            }
            Err(refusal) => {
                request.seen.model = Some(self.metrics.failed(&ask, &request.tokens, refusal.reason.label()));
                self.refuse(session, request, &refusal).await
            }
        }
    }

    async fn refuse(&self, session: &mut Session, request: &mut Request, refusal: &Refusal) -> Result<()> {
        request.seen.error = Some(refusal.reason.label());
        let id = &*request.seen.request_id;
        let internal = refusal.internal.as_deref().unwrap_or_default();
        match refusal.reason.is_routine() {
            true => tracing::debug!(request_id = id, reason = refusal.reason.label(), internal, "refused"),
            false => tracing::warn!(request_id = id, reason = refusal.reason.label(), internal, "failed"),
        }
        downstream::write_refusal(session, request.seen.route, request, refusal).await?;
        request.is_answered(session, None);
        downstream::read_out(session).await;
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Option<Request>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    fn init_downstream_modules(&self, _modules: &mut pingora::modules::http::HttpModules) {
        // None: Pingora's default brings response compression, which would hold tokens back.
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        guarded(session, Guarded::head_is_read);
        let serving = self.current.load_full();
        let server = &serving.config.server;
        let client = session.as_downstream_mut();
        client.set_write_timeout(Some(server.write_timeout_ms.duration()));
        client.set_pipelining_enabled(true);
        if client.get_keepalive().is_some() {
            client.set_keepalive(Some(server.idle_timeout_secs.get()));
        }
        let head = session.req_header();
        let trace = serving.telling.begin(&head.headers);
        *ctx = Some(Request::begin(head, serving, trace, self.active.enter()));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        let Some(request) = ctx.as_mut() else { return Err(Error::new(ErrorType::InternalError)) };
        if !self.turn.is_ours() && !self.turn.decided().await {
            request.is_relayed = true;
            // The client is to come anew, and to the other process.
            session.set_keepalive(None);
            request.seen.passed = Some(relay::WORD.into());
            return Ok(false);
        }
        let head = session.req_header();
        let serving = request.serving.clone();
        let server = &serving.config.server;
        let fate = form::check(head, server.max_head_bytes.get())
            .and_then(|()| fate(&head.method, head.uri.path(), &server.passed));
        match fate {
            Ok(Fate::Held(route)) => {
                request.seen.route = Some(route);
                self.held(session, route, request).await?;
                Ok(true)
            }
            Ok(Fate::Passed(pattern)) => match serving.pass(session).await {
                Ok((permit, upstream)) => {
                    request.seen.passed = Some(pattern.text.clone());
                    (request.permit, request.upstream) = (Some(permit), Some(upstream));
                    Ok(false)
                }
                Err(refusal) => self.refuse(session, request, &refusal).await.map(|()| true),
            },
            Err(reason) => {
                self.refuse(session, request, &reason.into()).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let request = ctx.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        if request.is_relayed {
            let next = self.next.clone().ok_or_else(|| Error::new(ErrorType::InternalError))?;
            return Ok(Box::new(next));
        }
        let upstream = request.upstream.clone().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        match upstream.peer().await {
            Ok(peers) => {
                let mut peer = HttpPeer::clone(&peers.usual);
                peer.options.read_timeout = Some(request.serving.backends.whole_deadline());
                Ok(Box::new(peer))
            }
            Err(error) => Error::e_because(ErrorType::ConnectError, "resolving the backend's name", error),
        }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if ctx.as_ref().is_some_and(|request| request.is_relayed) {
            return relay::mark(session, head);
        }
        head.remove_header(&relay::HEADER);
        let upstream = ctx.as_ref().and_then(|request| request.upstream.clone());
        let upstream = upstream.ok_or_else(|| Error::new(ErrorType::InternalError))?;
        head.insert_header(HOST, upstream.host.clone())?;
        if let Some(request) = ctx {
            head.insert_header("x-request-id", request.id.clone())?;
            if let Some(place) = request.trace.place(request.trace.span()) {
                head.insert_header("traceparent", place.traceparent())?;
            }
        }
        if let Some(key) = &upstream.api_key {
            let in_api_key = head.headers.contains_key(identity::API_KEY);
            put_key(head, key, in_api_key)?;
        }
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let target = format!("{}{target}", upstream.url.prefix);
        head.set_raw_path(target.as_bytes())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            // An empty last DATA frame would be written as a last chunk, and then a second one behind
            // it, which spoils the next request on the pooled connection (Pingora issue 935).
            *body = None;
        }
        if let (Some(request), Some(bytes)) = (ctx.as_mut().filter(|request| !request.is_relayed), body) {
            request.passed_bytes += bytes.len();
            if request.passed_bytes > request.serving.config.server.max_body_bytes.get() {
                return Error::e_explain(ErrorType::HTTPStatus(413), "the body is too large");
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(request) = ctx.as_ref().filter(|request| !request.is_relayed) {
            head.insert_header("x-request-id", request.id.clone())?;
            if let Some(permit) = &request.permit {
                let mut told = HeaderMap::new();
                request.serving.limiter.tell(permit, &mut told);
                for (name, value) in &told {
                    head.insert_header(name, value)?;
                }
            }
        }
        Ok(())
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        guarded(session, Guarded::request_is_over);
        if let Some(request) = ctx {
            request.is_answered(session, error);
        }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, error: &Error) -> bool {
        // What we refuse or break off is logged where it happens; a client that goes is no error.
        matches!(error.esource(), ErrorSource::Downstream) || matches!(error.etype(), ErrorType::Custom(_))
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let limit = || ctx.as_ref().map_or(0, |request| request.serving.config.server.max_body_bytes.get());
        let reason = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(413), _) => Reason::BodyTooLarge { limit: limit() },
            (_, ErrorSource::Downstream) => return FailToProxy { error_code: 0, can_reuse_downstream: false },
            (ErrorType::ConnectTimedout | ErrorType::ConnectError | ErrorType::ConnectRefused, _)
            | (ErrorType::ConnectNoRoute | ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout, _) => {
                Reason::Unreachable
            }
            (ErrorType::ReadTimedout | ErrorType::WriteTimedout, _) => Reason::AnswerTimeout,
            (_, ErrorSource::Upstream) => Reason::BackendCut,
            _ => Reason::Lost,
        };
        let error_code = reason.status().as_u16();
        if session.response_written().is_none()
            && let Some(request) = ctx
        {
            let refusal = Refusal::because(reason, telemetry::of_error(error));
            session.set_keepalive(None);
            // A client that cannot be told has gone.
            let _ = self.refuse(session, request, &refusal).await;
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }
}

/// What the client says of kept answers, of its deadlines, and of its priority.
fn steering(session: &Session) -> HeaderMap {
    let headers = &session.req_header().headers;
    let named = |name: HeaderName| headers.get_all(&name).iter().map(move |value| (name.clone(), value.clone()));
    steering::HEADERS.into_iter().chain(wishes::HEADERS).chain(cost::wishes::HEADERS).flat_map(named).collect()
}

fn declared_length(head: &RequestHeader) -> Option<usize> {
    head.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Tells the connection's guard where the request stands; HTTP/2 has none.
fn guarded(session: &Session, tell: fn(&Guarded)) {
    if let Some(http1) = session.as_downstream().as_http1()
        && let Some(connection) = (**http1.stream()).as_any().downcast_ref::<Guarded>()
    {
        tell(connection);
    }
}
