//! What the simulator refuses, in OpenAI's error shape.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::body::ReplyBody;
use super::controls::RetryAfter;
use super::json_text::JsonText;

/// Boxed, because it is the rare end of results that are passed on at every turn.
#[derive(Debug)]
pub struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    status: StatusCode,
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
    retry_after: Option<RetryAfter>,
    allow: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        let message = message.into();
        Problem(Box::new(Details { status, message, param: None, code: None, retry_after: None, allow: None }))
    }

    fn with(mut self, change: impl FnOnce(&mut Details)) -> Problem {
        change(&mut self.0);
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn missing(param: &'static str) -> Problem {
        Problem::bad_request(format!("Missing required parameter: '{param}'.")).with(|details| {
            details.param = Some(param);
            details.code = Some("missing_required_parameter");
        })
    }

    pub fn too_large(limit: usize) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The request body is larger than {limit} bytes."))
    }

    pub fn unknown_route(path: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("Unknown request URL: {path}."))
    }

    pub fn wrong_method(allowed: &'static str) -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("This URL answers to {allowed} only."))
            .with(|details| details.allow = Some(allowed))
    }

    pub fn unknown_model(model: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("The model `{model}` does not exist")).with(|details| {
            details.param = Some("model");
            details.code = Some("model_not_found");
        })
    }

    /// The error that a test asked for.
    pub fn planted(status: StatusCode, retry_after: Option<RetryAfter>) -> Problem {
        Problem::new(status, format!("The simulator was asked to answer {}.", status.as_u16())).with(|details| {
            details.code = Some("simulated");
            details.retry_after = retry_after;
        })
    }

    fn kind(&self) -> &'static str {
        match self.0.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    pub fn into_response(self) -> Response<ReplyBody> {
        let kind = self.kind();
        let Details { status, message, param, code, retry_after, allow } = *self.0;
        let mut text = JsonText::default();
        text.raw(r#"{"error":{"message":"#).string(&message);
        text.raw(r#","type":"#).string(kind);
        text.raw(r#","param":"#).raw(&optional(param));
        text.raw(r#","code":"#).raw(&optional(code)).raw("}}");
        let mut response = json_response(status, ReplyBody::plain(text.take()));
        let headers = response.headers_mut();
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(retry_after) = retry_after {
            headers.insert(RETRY_AFTER, retry_after.header());
            if let Some(milliseconds) = retry_after.milliseconds() {
                headers.insert("retry-after-ms", HeaderValue::from(milliseconds));
            }
        }
        response
    }
}

/// A response whose body is JSON, with any body that has a length of its own.
pub fn json_response(status: StatusCode, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), super::json_text::quoted)
}
