//! One call to a backend, as a room above decided it: which backend, and how long it may take.

use std::time::Duration;

use crate::trace::Place;

/// How long the parts of an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the call until the first token of a streamed answer.
    pub first_token: Duration,
    /// Between two pieces of an answer.
    pub token_gap: Duration,
    /// From the call until the end of an answer that is not streamed.
    pub whole: Duration,
    /// From the call until the end of a streamed answer.
    pub stream: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            first_token: Duration::from_secs(60),
            token_gap: Duration::from_secs(30),
            whole: Duration::from_secs(600),
            stream: Duration::from_secs(3600),
        }
    }
}

/// What the rooms below and the backend are told of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// The backend's place among the settings' `[[backends]]`.
    pub backend: usize,
    pub deadlines: Deadlines,
    /// The calls that were made for this answer, this one among them.
    pub attempt: u32,
    /// Whether a stream that would not say what it used is asked to.
    pub include_usage: bool,
    /// Its span, for the backend's own to be children of; none where nobody is told of spans.
    pub place: Option<Place>,
}
