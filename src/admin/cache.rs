//! Kept answers on the admin port: what they are, and how to be rid of them.

use http::{Method, Response, StatusCode, header};
use outrigger_filters::semantic_cache::report::{Request, Unclear};
use pingora::protocols::http::ServerSession;
use serde_json::json;

use super::{Admin, error, json_answer};

/// What a request to invalidate may say at most.
const LONGEST_REQUEST: usize = 16 * 1024;

impl Admin {
    /// A request that changes something, if it is one.
    pub(super) async fn change(&self, path: &str, session: &mut ServerSession) -> Option<Response<Vec<u8>>> {
        let request = match (session.req_header().method.clone(), path) {
            (Method::POST, "/api/cache/purge") => posted(session).await,
            (Method::DELETE, "/api/cache") => queried(session.req_header().uri.query().unwrap_or_default()),
            (Method::DELETE, path) => {
                let key = path.strip_prefix("/api/cache/entries/")?.to_owned();
                Ok(Request { key: Some(key), ..Request::default() })
            }
            _ => return None,
        };
        Some(match request {
            Ok(request) => self.purge(&request).await,
            Err(words) => json_answer(StatusCode::BAD_REQUEST, &error(&words)),
        })
    }

    async fn purge(&self, request: &Request) -> Response<Vec<u8>> {
        match self.cache.purge(request).await {
            Ok(purged) => {
                tracing::info!(?request, %purged, "kept answers are invalidated");
                json_answer(StatusCode::OK, &purged)
            }
            Err(unclear @ Unclear::NoSuchTenant) => json_answer(StatusCode::NOT_FOUND, &error(&unclear.to_string())),
            Err(unclear) => json_answer(StatusCode::BAD_REQUEST, &error(&unclear.to_string())),
        }
    }

    pub(super) async fn kept_answer(&self, key: &str) -> Response<Vec<u8>> {
        match self.cache.look(key).await {
            Some(entry) => json_answer(StatusCode::OK, &entry),
            None => json_answer(
                StatusCode::NOT_FOUND,
                &error("No answer is kept here under this key: 64 hex digits, as `Cache-Status` gives it."),
            ),
        }
    }

    pub(super) fn kept_health(&self) -> serde_json::Value {
        match self.cache.without_meaning() {
            _ if !self.cache.is_on() => json!({ "status": "off", "reason": "semantic_cache.mode is off" }),
            None if self.cache.has_meaning() => json!({ "status": "ok", "by_meaning": "on" }),
            None => json!({ "status": "ok", "by_meaning": "starting", "reason": "the model is being read" }),
            Some(why) if self.cache.wants_a_model() => json!({ "status": "degraded", "reason": why }),
            Some(why) => json!({ "status": "ok", "by_meaning": "off", "reason": why }),
        }
    }
}

/// The body of a POST. It must say that it is JSON, which no page of a foreign site can make a browser do unasked.
async fn posted(session: &mut ServerSession) -> Result<Request, String> {
    let kind = session.req_header().headers.get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/json")) {
        return Err("Send JSON, with `content-type: application/json`.".to_owned());
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = session.read_request_body().await {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_REQUEST {
            return Err("The body is too large.".to_owned());
        }
    }
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
