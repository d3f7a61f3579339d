//! What the ledger shows to testers.

use serde::Serialize;

/// The answer of `GET /sim/stats`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    pub started: u64,
    pub finished: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub active: u64,
    /// Requests to any route but `/sim/…`, refused ones included.
    pub requests: u64,
    pub connections: u64,
    pub open_connections: u64,
    pub peak_active: u64,
    /// Generations that have ended, and whose client was sent their usage.
    pub told: Tokens,
    /// Those whose client was not: it left, or they were cut, or it did not ask.
    pub untold: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_body_sha256: Option<String>,
}

/// What generations have read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    pub generations: u64,
    pub input: u64,
    pub output: u64,
}

impl std::ops::AddAssign for Tokens {
    fn add_assign(&mut self, more: Tokens) {
        self.generations += more.generations;
        self.input += more.input;
        self.output += more.output;
    }
}

/// One line of `GET /sim/log`; times are microseconds since the process began.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    pub generation: u64,
    pub route: &'static str,
    pub status: Status,
    pub tokens_sent: u64,
    pub started_us: u64,
    pub ended_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    /// The last byte was handed to the connection.
    Finished,
    /// The client left first.
    Cancelled,
    /// A planted fault ended it.
    Failed,
}
