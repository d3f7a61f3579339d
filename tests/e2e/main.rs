//! End to end: the real binary in front of the simulator, over real sockets.
//!
//! `cargo build --workspace` must have made the simulator; `make test` does.

#![expect(clippy::disallowed_methods, reason = "a test owns its tasks: they end with its runtime")]

mod backend;
mod breaker;
mod cache;
mod command_line;
mod conformance;
mod costs;
mod dedup;
mod events;
mod gpu;
mod http2;
mod lifecycle;
mod limit_faults;
mod limits;
mod redis;
mod reload;
mod scaling;
mod seeing;
mod streams;
mod support;
mod telemetry;
mod tls;
mod upgrade;
