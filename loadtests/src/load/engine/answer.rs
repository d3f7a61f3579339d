//! Whether an answer in one piece is what was asked for, and what it says of its tokens.

use serde::Deserialize;

use crate::load::record::outcome::Failure;
use crate::wire::connection::{Head, RetryAfter};

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Answer {
    usage: Option<Usage>,
}

/// A status that was expected is held to what it promises: 2xx to a JSON object, 429 to a time to come again.
pub fn judge(head: &Head, body: &[u8]) -> Result<Usage, Failure> {
    match head.status {
        200..300 => usage(body).ok_or(Failure::Malformed),
        429 if head.retry_after != RetryAfter::Given => Err(Failure::Malformed),
        _ => Ok(Usage::default()),
    }
}

/// None where the body is no JSON object.
fn usage(body: &[u8]) -> Option<Usage> {
    // A list would pass for a struct.
    body.trim_ascii_start().starts_with(b"{").then_some(())?;
    let answer: Answer = serde_json::from_slice(body).ok()?;
    Some(answer.usage.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::body::Body;

    fn head(status: u16, retry_after: RetryAfter) -> Head {
        Head { status, body: Body::Ended, keeps: true, retry_after, simulated: false }
    }

    #[test]
    fn an_answer_is_an_object_and_tells_its_tokens() {
        let ok = head(200, RetryAfter::Absent);
        let body = br#"{"choices":[{"text":"}"}],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}"#;
        assert_eq!(judge(&ok, body), Ok(Usage { prompt_tokens: Some(4), completion_tokens: Some(2) }));
        assert_eq!(judge(&ok, b"{}"), Ok(Usage::default()), "not every server counts");
        for broken in [&b"[]"[..], b"", b"{\"usage\":", b"{}}", b"null"] {
            assert_eq!(judge(&ok, broken), Err(Failure::Malformed), "{}", String::from_utf8_lossy(broken));
        }
    }

    #[test]
    fn too_many_requests_says_when_to_come_again() {
        assert_eq!(judge(&head(429, RetryAfter::Given), b""), Ok(Usage::default()));
        for wrong in [RetryAfter::Absent, RetryAfter::Malformed] {
            assert_eq!(judge(&head(429, wrong), b"{}"), Err(Failure::Malformed), "{wrong:?}");
        }
    }
}
