//! The parts that prove the proxy from outside: a simulated model server, load with bars to hold,
//! and checks on what comes through.

pub mod bars;
pub mod integrity;
pub mod sim;
