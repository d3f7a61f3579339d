//! Every reason to say no, whose fault it is, and the words for it.
//!
//! A client gets the external words in the shape its API knows; the log gets the internal ones.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
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
    #[error("{0}")]
    RateLimited(Box<RateLimited>),
    #[error("Too many requests at once from {0}; slow down.")]
    Flood(&'static str),
    #[error("The store of the rate limit `{0}` cannot be reached, and the limit is set to refuse without it.")]
    LimitUnknown(Arc<str>),
    /// With the budget's own words.
    #[error("You exceeded your current quota: {0}.")]
    QuotaExceeded(Box<str>),
    #[error("The store of the budget `{0}` cannot be reached, and the budget is set to refuse without it.")]
    BudgetUnknown(Arc<str>),
    #[error("No price is known for this model, and nothing is to be spent here without one.")]
    Unpriced,
    #[error("No kept answer will do for this request, and it asked for nothing else (`only-if-cached`).")]
    NotKept,
    #[error("No backend for this model is well enough to be asked now.")]
    Unavailable,
    #[error("The backend has asked to be left alone for a while.")]
    BackendPaused,
    #[error("There is more to do than the backends can take; try again in a while.")]
    Overloaded,
    #[error("The backend does not accept the key that this gateway has for it.")]
    BackendUnauthorized,
    #[error("The backend could not be reached.")]
    Unreachable,
    #[error("The backend broke off before its answer began.")]
    BackendCut,
    #[error("The backend broke off before its answer was complete.")]
    AnswerCut,
    #[error("The backend's answer was not understood.")]
    BackendNonsense,
    #[error("The backend did not begin to answer in time.")]
    FirstTokenTimeout,
    #[error("The backend did not finish its answer in time.")]
    AnswerTimeout,
    #[error("This server is being stopped; ask again.")]
    Stopping,
    #[error("The answer was lost inside Outrigger.")]
    Lost,
}

fn named(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" (`{key}`)") }
}

/// What a rate limit says of a request that did not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// The limit's name in the settings.
    pub limit: Arc<str>,
    /// What is counted: `requests`, `tokens`, …
    pub unit: &'static str,
    pub counts: Counts,
    pub amount: u64,
    pub used: u64,
    pub requested: u64,
    /// Until it would fit; none if it never can.
    pub retry: Option<Duration>,
}

/// The `type` of a rate limit's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    Requests,
    Tokens,
}

impl Counts {
    pub const fn name(self) -> &'static str {
        match self {
            Counts::Requests => "requests",
            Counts::Tokens => "tokens",
        }
    }
}

impl Display for RateLimited {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RateLimited { limit, unit, amount, used, requested, .. } = self;
        match self.retry {
            None => write!(
                out,
                "Request too large for the rate limit `{limit}` ({unit}): limit {amount}, requested {requested}. \
                 It can never be admitted; send or ask for less."
            ),
            Some(retry) => write!(
                out,
                "Rate limit `{limit}` reached ({unit}): limit {amount}, used {used}, requested {requested}. \
                 Please try again in {}.",
                span(retry)
            ),
        }
    }
}

/// A span as OpenAI writes it: `17ms`, `1.2s`, `6m0s`.
pub fn span(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let seconds = if seconds < 60 { seconds } else { millis.div_ceil(1000) };
    match (seconds, rest) {
        (0, _) => format!("{rest}ms"),
        (1..60, 0) => format!("{seconds}s"),
        (1..60, _) => format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
        (60..3600, _) => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
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
            Reason::RateLimited(_) | Reason::Flood(_) => {
                (Client, StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded"))
            }
            Reason::QuotaExceeded(_) => (Client, StatusCode::TOO_MANY_REQUESTS, Some("insufficient_quota")),
            Reason::BudgetUnknown(_) => (Us, StatusCode::SERVICE_UNAVAILABLE, Some("budget_unavailable")),
            Reason::Unpriced => (Client, StatusCode::FORBIDDEN, Some("model_not_priced")),
            Reason::LimitUnknown(_) => (Us, StatusCode::SERVICE_UNAVAILABLE, Some("rate_limit_unavailable")),
            Reason::NotKept => (Client, StatusCode::GATEWAY_TIMEOUT, Some("not_cached")),
            Reason::Unavailable => (Backend, StatusCode::SERVICE_UNAVAILABLE, Some("backend_unavailable")),
            Reason::BackendPaused => (Backend, StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded")),
            Reason::Overloaded => (Backend, StatusCode::SERVICE_UNAVAILABLE, Some("server_is_overloaded")),
            Reason::BackendUnauthorized => (Backend, StatusCode::BAD_GATEWAY, Some("backend_unauthorized")),
            Reason::Unreachable => (Backend, StatusCode::BAD_GATEWAY, Some("backend_unreachable")),
            Reason::BackendCut | Reason::AnswerCut => (Backend, StatusCode::BAD_GATEWAY, Some("backend_cut")),
            Reason::BackendNonsense => (Backend, StatusCode::BAD_GATEWAY, Some("backend_malformed")),
            Reason::FirstTokenTimeout => (Backend, StatusCode::GATEWAY_TIMEOUT, Some("backend_timeout")),
            Reason::AnswerTimeout => (Backend, StatusCode::GATEWAY_TIMEOUT, Some("backend_timeout")),
            Reason::Stopping => (Us, StatusCode::SERVICE_UNAVAILABLE, Some("server_shutting_down")),
            Reason::Lost => (Us, StatusCode::INTERNAL_SERVER_ERROR, Some("internal_error")),
        };
        let kind = match self {
            Reason::RateLimited(limited) => limited.counts.name(),
            Reason::QuotaExceeded(_) => "insufficient_quota",
            Reason::Flood(_) | Reason::BackendPaused => Counts::Requests.name(),
            _ if fault == Client => "invalid_request_error",
            _ => "server_error",
        };
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
        if matches!(self, Reason::BackendPaused) {
            // Its clients read the same code as for a limit of ours.
            return "backend_paused";
        }
        self.words().code.unwrap_or("bad_request")
    }

    /// Whether it is said to many at a time, so that a line of the log for each would drown the rest.
    pub fn is_routine(&self) -> bool {
        self.fault() == Fault::Client
            || matches!(self, Reason::Unavailable | Reason::BackendPaused | Reason::Overloaded | Reason::Stopping)
    }

    /// The field that is at fault, where there is one.
    fn param(&self) -> Option<&str> {
        match self {
            Reason::DuplicateKey(key) if !key.is_empty() => Some(key),
            Reason::NoSuchModel | Reason::Unpriced => Some("model"),
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
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
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
    /// What is said beside the reason: when to come again, what is left.
    pub headers: Option<Box<HeaderMap>>,
    pub timing: Timing,
}

impl Refusal {
    /// `internal` is for the log: it may name addresses and errors, never a prompt or a key.
    pub fn because(reason: Reason, internal: impl Display) -> Self {
        Refusal { internal: Some(internal.to_string().into()), ..Refusal::from(reason) }
    }

    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers.get_or_insert_default()
    }
}

/// When to come again: in whole seconds for everybody, and in milliseconds for OpenAI's SDKs.
pub fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
    headers.insert("retry-after-ms", HeaderValue::from(millis));
}

/// That coming again is of no use, or too much: the SDKs repeat what fails, each twice, unless they are told.
pub fn no_retry(headers: &mut HeaderMap) {
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal { reason, internal: None, headers: None, timing: Timing::default() }
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
    fn spans_are_written_as_openai_writes_them_and_never_too_short() {
        for (micros, expected) in [
            (0, "0ms"),
            (16_200, "17ms"),
            (1_200_000, "1.2s"),
            (59_999_100, "1m0s"),
            (360_000_000, "6m0s"),
            (5_429_000_100, "1h30m30s"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), expected);
        }
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
