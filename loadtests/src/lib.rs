//! The parts that prove the proxy from outside: a simulated model server, and checks on what comes through.

pub mod integrity;
pub mod sim;
