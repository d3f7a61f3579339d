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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_body_sha256: Option<String>,
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
