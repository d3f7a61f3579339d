//! When what is to be sent: what an arrival model or a trace comes down to.

use std::time::Duration;

/// A request and its intended send time, from the beginning of the load (the warm-up included).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    pub at: Duration,
    /// Which of the scenario's requests: a place in `Scenario::requests`.
    pub kind: usize,
    /// From a trace, instead of the kind's own.
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    /// Blocks of the prompt that it shares with others that name the same (Mooncake's `hash_ids`), 512 tokens each.
    pub blocks: Vec<u64>,
}

pub enum Plan {
    /// Each user sends the next request when the last is answered and it has thought.
    Closed(Vec<Users>),
    /// Requests come at their times, in order, whether or not others are answered.
    Open(Box<dyn Iterator<Item = Planned> + Send>),
}

/// A stage of a closed loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Users {
    pub count: usize,
    pub duration: Duration,
    pub think: Duration,
}
