//! The `sim` object: what a request, or `POST /sim/config`, asks of the simulator beyond the API.
//!
//! It travels in the body because proxies strip headers that they do not know. A field that is
//! unknown or out of range is an error, never ignored: a test whose fault is misspelt would pass.

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::milliseconds::Milliseconds;

/// All fields are optional; what a request leaves out comes from `/sim/config`, then from the command line.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controls {
    /// Milliseconds from the end of the request to the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<Milliseconds>,
    /// Milliseconds from one token to the next; for `slow_body`, from one piece to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<Milliseconds>,
    /// Generations at once, as the flag; for `/sim/config` only, because it is not one request's affair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    /// Where the answer ends by itself; `max_tokens` still cuts it short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Instead of `tokens`: as many as make about this many bytes of content, whatever `max_tokens` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_bytes: Option<u64>,
    /// Streams: send the response head with the first token, and not at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_head: Option<bool>,
    /// Answer with this status and an error; no generation is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ErrorStatus>,
    /// The Retry-After header that goes with `status`; a number of seconds sets retry-after-ms too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// After how many tokens the fault strikes; 1 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Streams of chats and completions: do not say the usage, though it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hide_usage: Option<bool>,
    /// Report the request as it arrived: hash and size of its body, and its headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<bool>,
}

impl Controls {
    /// Takes from `defaults` what is not set here.
    pub fn or(self, defaults: &Controls) -> Controls {
        Controls {
            ttft_ms: self.ttft_ms.or(defaults.ttft_ms),
            gap_ms: self.gap_ms.or(defaults.gap_ms),
            slots: self.slots,
            tokens: self.tokens.or(defaults.tokens),
            reply_bytes: self.reply_bytes.or(defaults.reply_bytes),
            late_head: self.late_head.or(defaults.late_head),
            hide_usage: self.hide_usage.or(defaults.hide_usage),
            status: self.status.or(defaults.status),
            retry_after: self.retry_after.or_else(|| defaults.retry_after.clone()),
            fault: self.fault.or(defaults.fault),
            at: self.at.or(defaults.at),
            echo: self.echo.or(defaults.echo),
        }
    }
}

/// How a generation goes wrong. What each does to streams and to JSON replies stands in the README.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing goes wrong; lets one request opt out of a configured fault.
    #[default]
    None,
    StallBefore,
    StallAfter,
    CutBefore,
    CutHead,
    Cut,
    CutMidEvent,
    CutBeforeDone,
    ShortBody,
    BadJson,
    BadSse,
    SlowBody,
    NoDone,
}

impl Fault {
    /// The form of reply that the fault cannot strike, if there is one.
    pub fn impossible_form(self) -> Option<Form> {
        match self {
            Fault::ShortBody | Fault::SlowBody => Some(Form::Stream),
            Fault::CutMidEvent | Fault::CutBeforeDone | Fault::BadSse | Fault::NoDone => Some(Form::Json),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Stream,
}

/// A status that an error can have on the wire: informational ones are no answers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct ErrorStatus(pub StatusCode);

impl TryFrom<u16> for ErrorStatus {
    type Error = String;

    fn try_from(code: u16) -> Result<ErrorStatus, String> {
        match StatusCode::from_u16(code) {
            Ok(status) if (200..=599).contains(&code) => Ok(ErrorStatus(status)),
            _ => Err(format!("status {code} is not between 200 and 599")),
        }
    }
}

impl From<ErrorStatus> for u16 {
    fn from(status: ErrorStatus) -> u16 {
        status.0.as_u16()
    }
}

/// The text of a Retry-After header: seconds, or a date.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RetryAfter {
    text: String,
    header: HeaderValue,
}

impl RetryAfter {
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The same in milliseconds, where it is a number of seconds.
    pub fn milliseconds(&self) -> Option<u64> {
        let seconds = self.text.trim().parse::<f64>().ok().filter(|seconds| (0.0..1e12).contains(seconds))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked above")]
        Some((seconds * 1000.0).round() as u64)
    }
}

impl TryFrom<String> for RetryAfter {
    type Error = String;

    fn try_from(text: String) -> Result<RetryAfter, String> {
        let header = HeaderValue::from_str(&text).map_err(|_| format!("{text:?} cannot be a header"))?;
        Ok(RetryAfter { text, header })
    }
}

impl From<RetryAfter> for String {
    fn from(value: RetryAfter) -> String {
        value.text
    }
}

#[cfg(test)]
mod tests {
    use super::{Controls, Fault};

    #[test]
    fn a_misspelt_field_is_an_error() {
        let error = serde_json::from_str::<Controls>(r#"{"tfft_ms": 3}"#).unwrap_err().to_string();
        assert!(error.contains("tfft_ms") && error.contains("ttft_ms"), "names the field and the known ones: {error}");
        for wrong in [r#"{"fault":"cutt"}"#, r#"{"status":99}"#, r#"{"gap_ms":-1}"#, r#"{"retry_after":"a\nb"}"#] {
            assert!(serde_json::from_str::<Controls>(wrong).is_err(), "{wrong} is refused");
        }
    }

    #[test]
    fn a_request_goes_before_the_configuration() {
        let defaults = Controls { fault: Some(Fault::Cut), tokens: Some(9), ..Controls::default() };
        let merged = Controls { fault: Some(Fault::None), ..Controls::default() }.or(&defaults);
        assert_eq!(merged.fault, Some(Fault::None), "the request opted out of the fault");
        assert_eq!(merged.tokens, Some(9), "the rest comes from the configuration");
    }

    #[test]
    fn seconds_are_told_in_milliseconds_too() {
        let milliseconds = |text: &str| super::RetryAfter::try_from(text.to_owned()).unwrap().milliseconds();
        assert_eq!(milliseconds("1.5"), Some(1500), "a number of seconds");
        assert_eq!(milliseconds("Wed, 21 Oct 2026 07:28:00 GMT"), None, "a date");
    }
}
