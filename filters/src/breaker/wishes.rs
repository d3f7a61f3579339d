//! What a request says of its own deadlines and its priority.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::admission::Priority;
use crate::{Deadlines, Reason};

const TTFT: &str = "x-outrigger-timeout-ttft-ms";
const GAP: &str = "x-outrigger-timeout-gap-ms";
const WHOLE: &str = "x-outrigger-timeout-ms";
const PRIORITY: &str = "x-outrigger-priority";

/// The headers that the room understands.
pub const HEADERS: [HeaderName; 4] = [
    HeaderName::from_static(TTFT),
    HeaderName::from_static(GAP),
    HeaderName::from_static(WHOLE),
    HeaderName::from_static(PRIORITY),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    pub priority: Priority,
    ttft: Option<Duration>,
    gap: Option<Duration>,
    whole: Option<Duration>,
}

impl Wishes {
    /// # Errors
    /// If a header does not say what it should.
    pub fn of(headers: &HeaderMap) -> Result<Self, Reason> {
        let mut wishes = Wishes { priority: Priority::Normal, ttft: None, gap: None, whole: None };
        if headers.is_empty() {
            return Ok(wishes);
        }
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        let span = |name, wrong| match text(name).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(millis)) if millis > 0 => Ok(Some(Duration::from_millis(millis))),
            Some(_) => Err(Reason::BadRequest(wrong)),
        };
        wishes.ttft = span(TTFT, "x-outrigger-timeout-ttft-ms must be a number of milliseconds above 0")?;
        wishes.gap = span(GAP, "x-outrigger-timeout-gap-ms must be a number of milliseconds above 0")?;
        wishes.whole = span(WHOLE, "x-outrigger-timeout-ms must be a number of milliseconds above 0")?;
        if let Some(priority) = text(PRIORITY) {
            let unknown = Reason::BadRequest("x-outrigger-priority must be low, normal or high");
            wishes.priority = priority.parse().map_err(|_| unknown)?;
        }
        Ok(wishes)
    }

    /// A request may ask for less time than it would have, and never for more.
    pub fn deadlines(&self, usual: Deadlines) -> Deadlines {
        let less = |wish: Option<Duration>, usual: Duration| wish.map_or(usual, |wish| wish.min(usual));
        let whole = less(self.whole, usual.whole);
        Deadlines {
            first_token: less(self.ttft, usual.first_token).min(less(self.whole, usual.first_token)),
            token_gap: less(self.gap, usual.token_gap),
            whole,
            stream: less(self.whole, usual.stream),
        }
    }

    /// By when the client wants the beginning of its answer, whatever is tried for it.
    pub fn patience(&self, streams: bool) -> Option<Duration> {
        match (self.ttft.filter(|_| streams), self.whole) {
            (Some(ttft), Some(whole)) => Some(ttft.min(whole)),
            (ttft, whole) => ttft.or(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> Result<Wishes, Reason> {
        Wishes::of(&[(HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn a_request_may_have_less_time_and_never_more() {
        let usual = Deadlines::default();
        let shorter = of(TTFT, "250").unwrap().deadlines(usual);
        assert_eq!(shorter, Deadlines { first_token: Duration::from_millis(250), ..usual });
        assert_eq!(of(TTFT, "99999999").unwrap().deadlines(usual), usual);
        let whole = of(WHOLE, "100").unwrap();
        assert_eq!(whole.deadlines(usual).first_token, Duration::from_millis(100), "the whole bounds its parts");
        assert_eq!(whole.patience(false), Some(Duration::from_millis(100)));
        assert_eq!(of(TTFT, "250").unwrap().patience(false), None, "an answer in one piece has no first token");
    }

    #[test]
    fn what_is_no_wish_is_refused_and_not_overlooked() {
        for (name, value) in [(TTFT, "soon"), (GAP, "0"), (WHOLE, "-1"), (PRIORITY, "urgent"), (TTFT, "")] {
            assert!(matches!(of(name, value), Err(Reason::BadRequest(_))), "{name}: {value}");
        }
        assert_eq!(of(PRIORITY, "high").unwrap().priority, Priority::High);
    }
}
