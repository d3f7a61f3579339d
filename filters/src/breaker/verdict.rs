//! What an answer, or its absence, says of the backend; and whether asking again may help.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::gate::Outcome;
use crate::reply::{Body, Broken, Event, Kind};
use crate::{End, Reason, Refusal, Reply, sse};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Whether another call of the same may have a better end.
    pub may_repeat: bool,
    /// How long the backend asks to be left alone.
    pub pause: Option<Duration>,
}

impl Verdict {
    const fn of(outcome: Outcome, may_repeat: bool) -> Self {
        Verdict { outcome, may_repeat, pause: None }
    }
}

/// Whether its end is to be awaited: a stream that has begun well. The others say all at once.
pub fn is_judged_by_its_end(answer: &Result<Reply, Refusal>) -> bool {
    answer.as_ref().is_ok_and(|reply| {
        matches!(reply.body, Body::Events(_)) && of_status(reply.status, false).outcome == Outcome::Good
    })
}

/// What is known when the whole of an answer is there, or an error, or nothing will come.
pub fn judge(answer: &Result<Reply, Refusal>, own_key: bool) -> Verdict {
    let reply = match answer {
        Ok(reply) => reply,
        Err(refusal) => return of_reason(&refusal.reason),
    };
    let verdict = of_status(reply.status, own_key);
    let counts = matches!(verdict.outcome, Outcome::Limited | Outcome::Fault);
    let pause = counts.then(|| retry_after(&reply.headers)).flatten();
    // As OpenAI says of a quota that is used up.
    let forbidden = reply.headers.get("x-should-retry").is_some_and(|value| value == "false");
    Verdict { pause, may_repeat: verdict.may_repeat && !forbidden, ..verdict }
}

fn of_status(status: StatusCode, own_key: bool) -> Verdict {
    match status.as_u16() {
        200..=399 => Verdict::of(Outcome::Good, false),
        // With the client's own key it is the client's own affair.
        401 | 403 if own_key => Verdict::of(Outcome::Unauthorized, true),
        429 => Verdict::of(Outcome::Limited, true),
        // The server says that it gave up on this one request: neither a fault, nor the client's error.
        408 | 409 => Verdict::of(Outcome::Neutral, true),
        400..=499 | 501 | 505 => Verdict::of(Outcome::Neutral, false),
        _ => Verdict::of(Outcome::Fault, true),
    }
}

fn of_reason(reason: &Reason) -> Verdict {
    match reason {
        Reason::Unreachable | Reason::BackendCut | Reason::BackendNonsense | Reason::FirstTokenTimeout => {
            Verdict::of(Outcome::Fault, true)
        }
        // It had begun to answer, and what it has generated once costs as much again; or its time is over.
        Reason::AnswerCut | Reason::AnswerTimeout => Verdict::of(Outcome::Fault, false),
        _ => Verdict::of(Outcome::Neutral, false),
    }
}

/// What the end of a stream says, where it told of no error before.
pub fn of_end(end: &End, told: Option<Outcome>) -> Outcome {
    match (end, told) {
        (_, Some(told)) => told,
        (end, None) => of_untold_end(end),
    }
}

fn of_untold_end(end: &End) -> Outcome {
    match end {
        End::Complete => Outcome::Good,
        End::Broken(Broken::BackendCut | Broken::TokenGap | Broken::TooLong) => Outcome::Fault,
        End::Broken(Broken::ReaderTooSlow | Broken::Stopping | Broken::Lost) | End::Abandoned => Outcome::Neutral,
    }
}

/// What an event that tells of an error says of the backend; none where it tells of none. As with a status, what is the
/// question's fault says nothing, and 429 is a class of its own.
pub fn told_by(event: &Event) -> Option<Outcome> {
    if !matches!(event.kind, Kind::Data | Kind::Last) || !sse::is_error(&event.bytes) {
        return None;
    }
    let data = event.bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
    let said = data.and_then(|data| serde_json::from_slice::<Value>(data).ok()).unwrap_or_default();
    // OpenAI's and Anthropic's, the Responses API's, and its flat error events.
    let places = [&said["error"], &said["response"]["error"], &said];
    let error = places.into_iter().find(|place| place.is_object()).unwrap_or(&Value::Null);
    let words = [&error["type"], &error["code"]].map(|word| word.as_str().unwrap_or_default());
    let status = error["code"].as_u64().or_else(|| error["code"].as_str()?.parse().ok());
    Some(match status {
        Some(429) => Outcome::Limited,
        Some(400..=499) => Outcome::Neutral,
        _ if words.iter().any(|word| word.starts_with("rate_limit")) => Outcome::Limited,
        _ if words.iter().any(|word| BLAMES_THE_QUESTION.iter().any(|known| word.starts_with(known))) => {
            Outcome::Neutral
        }
        _ => Outcome::Fault,
    })
}

/// How the types and codes of such errors begin.
const BLAMES_THE_QUESTION: [&str; 8] = [
    "invalid",
    "BadRequest",
    "context_length",
    "authentication",
    "permission",
    "not_found",
    "request_too_large",
    "content_filter",
];

/// RFC 9110, section 10.2.3: seconds or a date; `retry-after-ms` as OpenAI's and Azure's servers send it goes first.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number));
    if let Some(millis) = number("retry-after-ms") {
        return Some(Duration::from_secs_f64(millis / 1000.0));
    }
    if let Some(seconds) = number(RETRY_AFTER.as_str()) {
        return Some(Duration::from_secs_f64(seconds));
    }
    let date = httpdate::parse_http_date(text(RETRY_AFTER.as_str())?).ok()?;
    #[expect(clippy::disallowed_methods, reason = "a date is meant: the header names one")]
    let now = SystemTime::now();
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(status: u16, own_key: bool) -> Verdict {
        let reply = Reply::whole(StatusCode::from_u16(status).unwrap(), HeaderMap::new(), "{}");
        judge(&Ok(reply), own_key)
    }

    #[test]
    fn what_a_client_did_wrong_never_counts_against_a_backend() {
        for status in [400, 404, 405, 413, 415, 422, 431, 451, 499] {
            assert_eq!(whole(status, true), Verdict::of(Outcome::Neutral, false), "{status}");
        }
        for status in [401, 403] {
            assert_eq!(whole(status, false).outcome, Outcome::Neutral, "{status}: the client's own key");
            assert_eq!(whole(status, true).outcome, Outcome::Unauthorized, "{status}: ours");
        }
    }

    #[test]
    fn what_a_backend_did_wrong_does() {
        for status in [500, 502, 503, 504, 529] {
            assert_eq!(whole(status, false), Verdict::of(Outcome::Fault, true), "{status}");
        }
        assert_eq!(whole(429, false).outcome, Outcome::Limited);
        for reason in [Reason::Unreachable, Reason::BackendCut, Reason::FirstTokenTimeout, Reason::AnswerCut] {
            assert_eq!(judge(&Err(reason.clone().into()), false).outcome, Outcome::Fault, "{reason}");
        }
        assert_eq!(of_end(&End::Broken(Broken::TokenGap), None), Outcome::Fault);
        assert_eq!(
            of_end(&End::Complete, Some(Outcome::Fault)),
            Outcome::Fault,
            "a 200 whose stream tells of an error"
        );
        assert_eq!(of_end(&End::Abandoned, None), Outcome::Neutral, "the client left");
    }

    #[test]
    fn an_error_in_a_stream_is_judged_like_a_status() {
        let of = |text: &str| told_by(&Event { bytes: format!("{text}\n\n").into(), kind: Kind::Data });
        for (text, outcome) in [
            (r#"data: {"error":{"message":"boom","code":500}}"#, Some(Outcome::Fault)),
            (r#"data: {"error":{"message":"boom","type":"server_error"}}"#, Some(Outcome::Fault)),
            (r#"data: {"error":{"message":"long","type":"BadRequestError","code":400}}"#, Some(Outcome::Neutral)),
            (r#"data: {"error":{"code":429}}"#, Some(Outcome::Limited)),
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
                Some(Outcome::Fault),
            ),
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}",
                Some(Outcome::Limited),
            ),
            ("event: error\ndata: {\"type\":\"error\",\"code\":\"invalid_prompt\"}", Some(Outcome::Neutral)),
            (
                "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"invalid_image\"}}}",
                Some(Outcome::Neutral),
            ),
            (r#"data: {"choices":[{"delta":{"content":"\"error\""}}]}"#, None),
        ] {
            assert_eq!(of(text), outcome, "{text}");
        }
    }

    #[test]
    fn retry_after_is_understood_in_all_its_forms() {
        let of = |name: &'static str, value: &str| {
            retry_after(&[(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect())
        };
        assert_eq!(of("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(of("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(of("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let far = of("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT").unwrap();
        assert!(far > Duration::from_secs(3600 * 24 * 365));
        for nonsense in ["soon", "-1", "NaN", "1e99"] {
            assert_eq!(of("retry-after", nonsense), None, "{nonsense}");
        }
    }
}
