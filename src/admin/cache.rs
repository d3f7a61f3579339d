//! Kept answers on the admin port: what they are, and how to be rid of them.

use std::time::Duration;

use axum::extract::{FromRequest as _, RawQuery, Request as HttpRequest, State};
use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, Uri, header};
use outrigger_filters::semantic_cache::report::{Request, Unclear};
use serde_json::json;
use tokio::time::timeout;

use super::{Admin, ENTRIES, Here, error, json_answer};

/// How long a client may take to say what is to be invalidated.
const BODY_TIME: Duration = Duration::from_secs(30);

pub(super) async fn stats(State(admin): Here) -> Response {
    json_answer(StatusCode::OK, &admin.serving().cache.stats())
}

pub(super) async fn one(State(admin): Here, uri: Uri) -> Response {
    admin.kept_answer(key(&uri)).await
}

pub(super) async fn purge_one(State(admin): Here, uri: Uri) -> Response {
    admin.purge(&Request { key: Some(key(&uri).to_owned()), ..Request::default() }).await
}

pub(super) async fn purge_queried(State(admin): Here, RawQuery(query): RawQuery) -> Response {
    match queried(&query.unwrap_or_default()) {
        Ok(request) => admin.purge(&request).await,
        Err(words) => json_answer(StatusCode::BAD_REQUEST, &error(&words)),
    }
}

pub(super) async fn purge_posted(State(admin): Here, request: HttpRequest) -> Response {
    match posted(request).await {
        Ok(request) => admin.purge(&request).await,
        Err(words) => json_answer(StatusCode::BAD_REQUEST, &error(&words)),
    }
}

/// Hexadecimal digits, which nobody need encode.
fn key(uri: &Uri) -> &str {
    uri.path().strip_prefix(ENTRIES).unwrap_or_default()
}

impl Admin {
    async fn purge(&self, request: &Request) -> Response {
        match self.serving().cache.purge(request).await {
            Ok(purged) => {
                tracing::info!(?request, %purged, "kept answers are invalidated");
                json_answer(StatusCode::OK, &purged)
            }
            Err(unclear @ Unclear::NoSuchTenant) => json_answer(StatusCode::NOT_FOUND, &error(&unclear.to_string())),
            Err(unclear) => json_answer(StatusCode::BAD_REQUEST, &error(&unclear.to_string())),
        }
    }

    async fn kept_answer(&self, key: &str) -> Response {
        match self.serving().cache.look(key).await {
            Some(entry) => json_answer(StatusCode::OK, &entry),
            None => json_answer(
                StatusCode::NOT_FOUND,
                &error("No answer is kept here under this key: 64 hex digits, as `Cache-Status` gives it."),
            ),
        }
    }

    pub(super) fn kept_health(&self) -> serde_json::Value {
        let cache = &self.serving().cache;
        match cache.without_meaning() {
            _ if !cache.is_on() => json!({ "status": "off", "reason": "semantic_cache.mode is off" }),
            None if cache.has_meaning() => json!({ "status": "ok", "by_meaning": "on" }),
            None => json!({ "status": "ok", "by_meaning": "starting", "reason": "the model is being read" }),
            Some(why) if cache.wants_a_model() => json!({ "status": "degraded", "reason": why }),
            Some(why) => json!({ "status": "ok", "by_meaning": "off", "reason": why }),
        }
    }
}

/// The body of a POST. It must say that it is JSON, which no page of a foreign site can make a browser do unasked.
async fn posted(request: HttpRequest) -> Result<Request, String> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/json")) {
        return Err("Send JSON, with `content-type: application/json`.".to_owned());
    }
    let body = match timeout(BODY_TIME, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err("The body is too large.".to_owned());
        }
        Ok(Err(_)) | Err(_) => return Err("The body has not come whole.".to_owned()),
    };
    serde_json::from_slice(&body).map_err(|error| format!("The body is not what is expected: {error}."))
}

fn queried(query: &str) -> Result<Request, String> {
    let mut request = Request::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "all" => request.all = value != "false",
            "tenant" => request.tenant = Some(value),
            "model" => request.model = Some(value),
            "tag" => request.tag = Some(value),
            "key" => request.key = Some(value),
            _ => return Err(format!("There is no `{name}` here: say key, tag, model, tenant or all=true.")),
        }
    }
    Ok(request)
}
