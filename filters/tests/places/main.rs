//! The places of kept answers against a real Redis, and against being killed. Needs redis-server.

mod kill;
mod purges;
#[allow(dead_code, reason = "the tests of the store use more of it")]
#[path = "../redis/server.rs"]
mod server;
mod sharing;
mod side;
