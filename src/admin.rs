//! The operator's side: alive, ready, healthy, metrics, limits, kept answers. On a port of its own.

mod backends;
mod cache;
mod costs;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Response, StatusCode, header};
use outrigger_filters::breaker::Fleet;
use outrigger_filters::cost::Books;
use outrigger_filters::semantic_cache::{self, Cache};
use outrigger_filters::store::Health;
use pingora::apps::ServerApp as _;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::json;
use tokio::net::TcpListener;

use crate::service::{Limits, Readiness};
use crate::telemetry::Metrics;

pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub limits: Limits,
    pub cache: Arc<Cache>,
    pub cache_config: semantic_cache::Config,
    pub books: Arc<Books>,
    pub fleet: Arc<Fleet>,
}

/// The admin port as a service that outlives the clients' port: Pingora closes its own listeners as
/// soon as the process is told to stop, and then nobody could ask how far the draining is.
pub struct Service {
    pub app: Arc<HttpServer<Admin>>,
    /// Bound at the start, so that nobody takes the port before it is served; does not block.
    pub listener: std::net::TcpListener,
}

#[async_trait]
impl BackgroundService for Service {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let taken = self.listener.try_clone().and_then(TcpListener::from_std);
        let listener = match taken {
            Ok(listener) => listener,
            Err(problem) => return tracing::error!(%problem, "the admin port is not served"),
        };
        // Never told to stop: it ends with the process.
        let (_running, shutdown) = tokio::sync::watch::channel(false);
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (app, shutdown) = (self.app.clone(), shutdown.clone());
            #[expect(clippy::disallowed_methods, reason = "a connection of this service, which ends with it")]
            tokio::spawn(async move { app.process_new(Box::new(Stream::from(stream)), &shutdown).await });
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let path = session.req_header().uri.path().to_owned();
        if let Some(answer) = self.change(&path, session).await {
            return answer;
        }
        if let Some(answer) = self.order(&path, session) {
            return answer;
        }
        let head = session.req_header();
        if !matches!(head.method.as_str(), "GET" | "HEAD") {
            let words =
                "Only GET is answered here, but for POST /api/cache/purge and POST /api/backends/{name}/{order}.";
            return json_answer(StatusCode::METHOD_NOT_ALLOWED, &error(words));
        }
        let query = head.uri.query().unwrap_or_default().to_owned();
        if let Some(answer) = self.of_the_books(&path, &query).await {
            return answer;
        }
        match path.as_str() {
            "/livez" => json_answer(StatusCode::OK, &json!({ "status": "alive" })),
            "/readyz" => match self.readiness.obstacle().await {
                None => json_answer(StatusCode::OK, &json!({ "status": "ready" })),
                Some(why) => {
                    json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "why": why }))
                }
            },
            "/healthz" => self.health(),
            "/metrics" => self.metrics(&accepted(session)),
            "/api/backends" => self.backends(None),
            "/api/limits" => self.limits(None).await,
            "/api/cache/stats" | "/api/kv-cache/stats" => json_answer(StatusCode::OK, &self.cache.stats()),
            other => self.of_one(other).await,
        }
    }
}

const NOTHING_HERE: &str = "Nothing is here; try /livez, /readyz, /healthz, /metrics, /api/backends, \
    /api/backends/{name}, /api/limits, /api/limits/{tenant}, /api/cache/stats, /api/cache/entries/{key}, /api/costs, \
    /api/costs/today, /api/budgets or /api/recommendations.";

impl Admin {
    /// One thing of many, by its name.
    async fn of_one(&self, path: &str) -> Response<Vec<u8>> {
        let of = |prefix| path.strip_prefix(prefix).filter(|name: &&str| !name.is_empty());
        match (of("/api/limits/"), of("/api/cache/entries/"), of("/api/backends/")) {
            (Some(tenant), _, _) => self.limits(Some(tenant)).await,
            (_, Some(key), _) => self.kept_answer(key).await,
            (_, _, Some(name)) => self.backends(Some(&percent_encoding::percent_decode_str(name).decode_utf8_lossy())),
            _ => json_answer(StatusCode::NOT_FOUND, &error(NOTHING_HERE)),
        }
    }

    /// What works, part by part. A part that is missing degrades the whole, which goes on serving; with no backend at
    /// all it is unhealthy, and answers 503.
    fn health(&self) -> Response<Vec<u8>> {
        let redis = match &self.limits.store {
            None => json!({ "status": "off", "reason": "no redis.url is set: limits are this process's own" }),
            Some(store) => match store.health() {
                Health::Up if self.limits.limiter.is_degraded() => json!({
                    "status": "degraded",
                    "reason": "back; the sidecars are telling it what it missed",
                }),
                Health::Up => json!({ "status": "ok", "sidecars": self.limits.limiter.sidecars() }),
                Health::Down { since, reason } => json!({
                    "status": "degraded",
                    "reason": reason.name(),
                    "for_ms": u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
                }),
            },
        };
        let cache = self.kept_health();
        let backends = self.fleet.health();
        let parts = [&redis, &cache, &backends];
        let is = |status: &str| parts.iter().any(|part| part["status"] == status);
        let status = match (is("unhealthy"), is("degraded")) {
            (true, _) => "unhealthy",
            (_, true) => "degraded",
            _ => "ok",
        };
        let code = if status == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let parts = json!({ "backends": backends, "redis": redis, "semantic_cache": cache });
        json_answer(code, &json!({ "status": status, "parts": parts }))
    }

    async fn limits(&self, tenant: Option<&str>) -> Response<Vec<u8>> {
        let tenant = tenant.map(|tenant| percent_encoding::percent_decode_str(tenant).decode_utf8_lossy());
        match self.limits.limiter.report(tenant.as_deref()).await {
            Some(report) => json_answer(StatusCode::OK, &report),
            None => json_answer(
                StatusCode::NOT_FOUND,
                &error("No such tenant: neither a name in [tenants.names] nor one that has asked in the last windows."),
            ),
        }
    }

    fn metrics(&self, accepted: &str) -> Response<Vec<u8>> {
        let (kind, text) = self.metrics.text(accepted);
        answer(StatusCode::OK, kind, text.into_bytes())
    }
}

fn accepted(session: &ServerSession) -> String {
    let accepted = session.req_header().headers.get(header::ACCEPT);
    accepted.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn error(message: &str) -> serde_json::Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response<Vec<u8>> {
    answer(status, "application/json", format!("{body}\n").into_bytes())
}

fn answer(status: StatusCode, kind: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_LENGTH, body.len())
        .body(body)
        .unwrap_or_default()
}
