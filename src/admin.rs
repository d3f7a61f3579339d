//! The operator's side: alive, ready, healthy, metrics, limits, kept answers, money, events. On a port of its own.

mod backends;
mod cache;
mod costs;
mod events;
mod gpu;
mod health;
mod performance;
mod reload;
mod serve;
mod strangers;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{delete, get, post};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use outrigger_filters::store::Store;
use serde_json::json;

use crate::events::Events;
use crate::gpu::Gpu;
use crate::insight::Insight;
use crate::machine::Machine;
use crate::reload::Reload;
use crate::scaling::Scales;
use crate::service::Readiness;
use crate::serving::{Current, Serving};
use crate::telemetry::Metrics;
pub use serve::Service;

pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub store: Option<Arc<Store>>,
    /// What holds now.
    pub current: Arc<Current>,
    pub events: Arc<Events>,
    pub insight: Arc<Insight>,
    pub scales: Arc<Scales>,
    pub machine: Arc<Machine>,
    pub gpu: Arc<Gpu>,
    pub reload: Arc<Reload>,
}

type Here = State<Arc<Admin>>;

/// What a request may say at most.
const LONGEST_REQUEST: usize = 16 * 1024;
const BACKENDS: &str = "/api/backends/";
const ENTRIES: &str = "/api/cache/entries/";
const LIMITS: &str = "/api/limits/";

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/livez", get(async || json_answer(StatusCode::OK, &json!({ "status": "alive" }))))
        .route("/readyz", get(ready))
        .route("/healthz", get(health::of_all))
        .route("/metrics", get(metrics))
        .route("/api/backends", get(async |State(admin): Here| admin.backends(None)))
        .route(BACKENDS, post(backends::order))
        .route("/api/backends/{*name}", get(backends::one).post(backends::order))
        .route("/api/limits", get(async |State(admin): Here| admin.limits(None).await))
        .route("/api/limits/{*tenant}", get(limits_of_one))
        .route("/api/cache", delete(cache::purge_queried))
        .route("/api/cache/purge", post(cache::purge_posted))
        .route("/api/cache/stats", get(cache::stats))
        .route("/api/kv-cache/stats", get(cache::stats))
        .route(ENTRIES, delete(cache::purge_one))
        .route("/api/cache/entries/{*key}", get(cache::one).delete(cache::purge_one))
        .route("/api/costs", get(costs::costs))
        .route("/api/costs/today", get(costs::costs_today))
        .route("/api/budgets", get(costs::budgets))
        .route("/api/recommendations", get(costs::recommendations))
        .route("/api/performance/metrics", get(performance::metrics))
        .route("/api/performance/report", get(performance::report))
        .route("/api/performance/slow", get(performance::slow))
        .route("/api/alerts", get(performance::alerts))
        .route("/api/scaling", get(async |State(admin): Here| json_answer(StatusCode::OK, &admin.scales.report())))
        .route("/api/gpu/status", get(gpu::status))
        .route("/api/events", get(events::events))
        .route("/api/reload", get(reload::last).post(reload::now))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
        .layer(middleware::from_fn_with_state(admin.clone(), strangers::turned_away))
        .with_state(admin)
}

const NOTHING_HERE: &str = "Nothing is here; try /livez, /readyz, /healthz, /metrics, /api/backends, \
    /api/backends/{name}, /api/limits, /api/limits/{tenant}, /api/cache/stats, /api/cache/entries/{key}, /api/costs, \
    /api/costs/today, /api/budgets, /api/recommendations, /api/performance/metrics, /api/performance/report, \
    /api/performance/slow, /api/alerts, /api/scaling, /api/gpu/status, /api/reload or /api/events.";
const ONLY_GET: &str =
    "Only GET is answered here, but for POST /api/cache/purge, POST /api/reload and POST /api/backends/{name}/{order}.";

async fn nothing(method: Method) -> Response {
    match method {
        Method::GET | Method::HEAD => json_answer(StatusCode::NOT_FOUND, &error(NOTHING_HERE)),
        _ => json_answer(StatusCode::METHOD_NOT_ALLOWED, &error(ONLY_GET)),
    }
}

async fn ready(State(admin): Here) -> Response {
    match admin.readiness.obstacle().await {
        None => json_answer(StatusCode::OK, &json!({ "status": "ready" })),
        Some(why) => json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "why": why })),
    }
}

async fn limits_of_one(State(admin): Here, uri: Uri) -> Response {
    admin.limits(Some(&named(&uri, LIMITS))).await
}

/// What the path names after its beginning. Names are bytes to whoever gave them: what is no UTF-8 is no error.
fn named<'uri>(uri: &'uri Uri, beginning: &str) -> Cow<'uri, str> {
    let name = uri.path().strip_prefix(beginning).unwrap_or_default();
    percent_encoding::percent_decode_str(name).decode_utf8_lossy()
}

impl Admin {
    /// What holds now.
    fn serving(&self) -> Arc<Serving> {
        self.current.load_full()
    }

    async fn limits(&self, tenant: Option<&str>) -> Response {
        match self.serving().limiter.report(tenant).await {
            Some(report) => json_answer(StatusCode::OK, &report),
            None => json_answer(
                StatusCode::NOT_FOUND,
                &error("No such tenant: neither a name in [tenants.names] nor one that has asked in the last windows."),
            ),
        }
    }
}

async fn metrics(State(admin): Here, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, text) = admin.metrics.text(accepted);
    answer(StatusCode::OK, kind, text.into_bytes())
}

fn error(message: &str) -> serde_json::Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response {
    answer(status, "application/json", format!("{body}\n").into_bytes())
}

fn answer(status: StatusCode, kind: &str, body: Vec<u8>) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .unwrap_or_default()
}
