//! What speaks to a target and watches it: connections, requests, a fine clock, the target's process.

pub mod body;
pub mod connection;
pub mod endpoint;
pub mod files;
pub mod pacer;
pub mod process;
pub mod prompt;
pub mod simulator;
pub mod target;
pub mod transport;
