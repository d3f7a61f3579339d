//! Every reason to say no, whose fault it is, and the words for it.
//!
//! A client gets the external words in the shape its API knows; the log gets the internal ones.

use std::fmt::Display;
use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use crate::ask::Route;
use crate::reply::{Broken, Timing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Client,
    Us,
    Backend,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("The request is malformed: {0}.")]
    BadRequest(&'static str),
    #[error("The body is not valid JSON (line {line}, column {column}).")]
    BadJson { line: usize, column: usize },
    #[error("The body must be a JSON object.")]
    NotAnObject,
    #[error("An object in the body has the same key twice{}: what it means would depend on the reader.", named(.0))]
    DuplicateKey(String),
    #[error("The body is larger than the {limit} bytes allowed.")]
    BodyTooLarge { limit: usize },
    #[error("The request's head is larger than the {limit} bytes allowed.")]
    HeadTooLarge { limit: usize },
    #[error("The request's body did not arrive in time.")]
    BodyTimeout,
    #[error("The content encoding of the request's body is not supported; send it as it is.")]
    UnsupportedEncoding,
    #[error("Only `Expect: 100-continue` is understood.")]
    ExpectationFailed,
    #[error("Unknown request URL. Please check the URL for typos.")]
    NoSuchRoute,
    #[error("Not allowed to {method} on this URL (HTTP {allow} only).")]
    MethodNotAllowed { method: &'static str, allow: &'static str },
    #[error("The request does not say who asks: the header `{header}` is missing.")]
    NoIdentity { header: Arc<str> },
    #[error("No backend here serves this model.")]
    NoSuchModel,
    #[error("The backend could not be reached.")]
    Unreachable,
    #[error("The backend broke off before its answer was complete.")]
    BackendCut,
    #[error("The backend's answer was not understood.")]
    BackendNonsense,
    #[error("The backend did not begin to answer in time.")]
    FirstTokenTimeout,
    #[error("The backend did not finish its answer in time.")]
    AnswerTimeout,
    #[error("The answer was lost inside Outrigger.")]
    Lost,
}

fn named(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" (`{key}`)") }
}

/// What a reason looks like outside: status, `type` and `code` of the error.
struct Words {
    fault: Fault,
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
}

impl Reason {
    /// The one place that maps a reason to what is said of it.
    fn words(&self) -> Words {
        use Fault::{Backend, Client, Us};
        let (fault, status, code) = match self {
            Reason::BadRequest(_) => (Client, StatusCode::BAD_REQUEST, None),
            Reason::BadJson { .. } | Reason::NotAnObject => (Client, StatusCode::BAD_REQUEST, Some("invalid_json")),
            Reason::DuplicateKey(_) => (Client, StatusCode::BAD_REQUEST, Some("duplicate_key")),
            Reason::BodyTooLarge { .. } => (Client, StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large")),
            Reason::HeadTooLarge { .. } => {
                (Client, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Some("headers_too_large"))
            }
            Reason::BodyTimeout => (Client, StatusCode::REQUEST_TIMEOUT, Some("request_timeout")),
            Reason::UnsupportedEncoding => {
                (Client, StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_content_encoding"))
            }
            Reason::ExpectationFailed => (Client, StatusCode::EXPECTATION_FAILED, None),
            Reason::NoSuchRoute => (Client, StatusCode::NOT_FOUND, Some("unknown_url")),
            Reason::MethodNotAllowed { .. } => (Client, StatusCode::METHOD_NOT_ALLOWED, Some("method_not_supported")),
            Reason::NoIdentity { .. } => (Client, StatusCode::UNAUTHORIZED, Some("invalid_api_key")),
            Reason::NoSuchModel => (Client, StatusCode::NOT_FOUND, Some("model_not_found")),
            Reason::Unreachable => (Backend, StatusCode::BAD_GATEWAY, Some("backend_unreachable")),
            Reason::BackendCut => (Backend, StatusCode::BAD_GATEWAY, Some("backend_cut")),
            Reason::BackendNonsense => (Backend, StatusCode::BAD_GATEWAY, Some("backend_malformed")),
            Reason::FirstTokenTimeout => (Backend, StatusCode::GATEWAY_TIMEOUT, Some("backend_timeout")),
            Reason::AnswerTimeout => (Backend, StatusCode::GATEWAY_TIMEOUT, Some("backend_timeout")),
            Reason::Lost => (Us, StatusCode::INTERNAL_SERVER_ERROR, Some("internal_error")),
        };
        let kind = if fault == Client { "invalid_request_error" } else { "server_error" };
        Words { fault, status, kind, code }
    }

    pub fn fault(&self) -> Fault {
        self.words().fault
    }

    pub fn status(&self) -> StatusCode {
        self.words().status
    }

    /// A word for metrics and logs, from a closed set.
    pub fn label(&self) -> &'static str {
        self.words().code.unwrap_or("bad_request")
    }

    /// The field that is at fault, where there is one.
    fn param(&self) -> Option<&str> {
        match self {
            Reason::DuplicateKey(key) if !key.is_empty() => Some(key),
            Reason::NoSuchModel => Some("model"),
            _ => None,
        }
    }

    /// The body of the error, in the shape of the route's API.
    pub fn body(&self, route: Option<Route>) -> String {
        let Words { status, kind, code, .. } = self.words();
        if route == Some(Route::Messages) {
            return anthropic(status, self);
        }
        openai(self, kind, self.param(), code)
    }
}

fn openai(message: &impl Display, kind: &str, param: Option<&str>, code: Option<&str>) -> String {
    json!({ "error": { "message": message.to_string(), "type": kind, "param": param, "code": code } }).to_string()
}

fn anthropic(status: StatusCode, message: &impl Display) -> String {
    let kind = match status.as_u16() {
        400 | 405 | 408 | 415 | 417 | 431 => "invalid_request_error",
        401 => "authentication_error",
        404 => "not_found_error",
        413 => "request_too_large",
        504 => "timeout_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message.to_string() } }).to_string()
}

/// The event that tells a client in mid-stream that no more will come, in the shape of the route's API.
pub fn broken_event(broken: Broken, route: Route) -> String {
    match route {
        Route::Messages => format!("event: error\ndata: {}\n\n", anthropic(StatusCode::BAD_GATEWAY, &broken)),
        // The Responses API has flat error events; its clients take OpenAI's common shape too.
        _ => format!("data: {}\n\n", openai(&broken, "server_error", None, Some(broken.code()))),
    }
}

/// A no: its reason, what only the log may know of it, and the time it took.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub reason: Reason,
    pub internal: Option<Arc<str>>,
    pub timing: Timing,
}

impl Refusal {
    /// `internal` is for the log: it may name addresses and errors, never a prompt or a key.
    pub fn because(reason: Reason, internal: impl Display) -> Self {
        Refusal { internal: Some(internal.to_string().into()), ..Refusal::from(reason) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal { reason, internal: None, timing: Timing::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_error_has_all_four_keys_of_openais_shape() {
        for reason in [Reason::NotAnObject, Reason::DuplicateKey("model".into()), Reason::Unreachable] {
            let body: Value = serde_json::from_str(&reason.body(Some(Route::ChatCompletions))).unwrap();
            let error = body["error"].as_object().unwrap();
            let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, ["code", "message", "param", "type"], "{reason:?}");
        }
    }

    #[test]
    fn on_messages_an_error_has_anthropics_shape() {
        let body: Value = serde_json::from_str(&Reason::FirstTokenTimeout.body(Some(Route::Messages))).unwrap();
        assert_eq!((body["type"].as_str(), body["error"]["type"].as_str()), (Some("error"), Some("timeout_error")));
        assert!(broken_event(Broken::BackendCut, Route::Messages).starts_with("event: error\ndata: {"));
    }

    #[test]
    fn whose_fault_it_is_decides_the_class_of_the_status() {
        for (reason, fault) in [
            (Reason::BadRequest("x"), Fault::Client),
            (Reason::BodyTooLarge { limit: 1 }, Fault::Client),
            (Reason::Lost, Fault::Us),
            (Reason::BackendCut, Fault::Backend),
        ] {
            assert_eq!(reason.fault(), fault);
            assert_eq!(reason.status().is_client_error(), fault == Fault::Client, "{reason:?}");
        }
    }
}
