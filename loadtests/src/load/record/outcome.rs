//! What became of one request.

use std::time::Duration;

use tokio::time::Instant;

use crate::integrity::Verdict;

#[derive(Clone, Debug)]
pub struct Outcome {
    /// When the plan would have had it sent; in a closed loop, when it was sent.
    pub intended: Instant,
    pub sent: Instant,
    /// With the last byte, or where it was given up.
    pub ended: Instant,
    /// The first content of a stream.
    pub first: Option<Instant>,
    /// None where it was answered as expected.
    pub failure: Option<Failure>,
    /// Whether it was asked for as a stream.
    pub stream: bool,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub body_bytes: u64,
    /// Of a stream that carries the simulator's marks, once it was checked.
    pub integrity: Option<Verdict>,
}

/// Why a request was not answered as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection could be opened.
    Connect,
    Timeout,
    /// The connection ended before the answer began, or was reset.
    Reset,
    Status(u16),
    /// The answer ended before its end.
    Truncated,
    /// The answer is not what it should be: no JSON, no event, no Retry-After.
    Malformed,
    /// A stream said in an event that it failed.
    ErrorEvent,
    Lost,
    Repeated,
    Reordered,
    Crossed,
    HashMismatch,
}

impl Failure {
    /// The key under which a report counts it.
    pub fn key(self) -> String {
        let key = match self {
            Failure::Connect => "connect",
            Failure::Timeout => "timeout",
            Failure::Reset => "reset",
            Failure::Status(status) => return format!("status_{status}"),
            Failure::Truncated => "truncated",
            Failure::Malformed => "malformed",
            Failure::ErrorEvent => "error_event",
            Failure::Lost => "integrity_lost",
            Failure::Repeated => "integrity_repeated",
            Failure::Reordered => "integrity_reordered",
            Failure::Crossed => "integrity_crossed",
            Failure::HashMismatch => "integrity_hash_mismatch",
        };
        key.to_owned()
    }

    /// What an integrity check found, none where the stream is whole.
    pub fn of(verdict: &Verdict) -> Option<Failure> {
        match verdict {
            Verdict::Whole { .. } => None,
            Verdict::Lost { .. } => Some(Failure::Lost),
            Verdict::Repeated { .. } => Some(Failure::Repeated),
            Verdict::Reordered { .. } => Some(Failure::Reordered),
            Verdict::Crossed { .. } => Some(Failure::Crossed),
            Verdict::Truncated { .. } => Some(Failure::Truncated),
            Verdict::HashMismatch { .. } => Some(Failure::HashMismatch),
            Verdict::ErrorEvent { .. } => Some(Failure::ErrorEvent),
            Verdict::Malformed { .. } => Some(Failure::Malformed),
        }
    }
}

impl Outcome {
    /// Just sent, and not yet answered.
    pub fn new(intended: Instant, sent: Instant, stream: bool) -> Outcome {
        Outcome {
            intended,
            sent,
            ended: sent,
            first: None,
            failure: None,
            stream,
            input_tokens: 0,
            output_tokens: 0,
            body_bytes: 0,
            integrity: None,
        }
    }

    pub fn lag(&self) -> Duration {
        self.sent.saturating_duration_since(self.intended)
    }

    pub fn end_to_end(&self) -> Duration {
        self.ended.saturating_duration_since(self.intended)
    }

    pub fn service(&self) -> Duration {
        self.ended.saturating_duration_since(self.sent)
    }

    pub fn ttft(&self) -> Option<Duration> {
        self.first.map(|first| first.saturating_duration_since(self.intended))
    }

    pub fn service_ttft(&self) -> Option<Duration> {
        self.first.map(|first| first.saturating_duration_since(self.sent))
    }

    /// The mean time of a token after the first, where there is more than one.
    pub fn tpot(&self) -> Option<Duration> {
        let later = self.output_tokens.checked_sub(1).filter(|later| *later > 0)?;
        let nanoseconds = nanoseconds(self.ended.saturating_duration_since(self.first?));
        Some(Duration::from_nanos(nanoseconds / later))
    }
}

/// Half a millennium fits.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_where_they_should() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut outcome = Outcome::new(start, at(2), true);
        (outcome.first, outcome.ended, outcome.output_tokens) = (Some(at(12)), at(52), 5);
        assert_eq!(outcome.lag(), Duration::from_millis(2));
        assert_eq!((outcome.end_to_end(), outcome.service()), (Duration::from_millis(52), Duration::from_millis(50)));
        assert_eq!(outcome.ttft(), Some(Duration::from_millis(12)), "from the intended send time");
        assert_eq!(outcome.service_ttft(), Some(Duration::from_millis(10)), "from the sending");
        assert_eq!(outcome.tpot(), Some(Duration::from_millis(10)), "four tokens after the first");
        outcome.output_tokens = 1;
        assert_eq!(outcome.tpot(), None, "one token has no others");
    }
}
