//! The parts that prove the proxy from outside: a simulated model server, load with bars to hold,
//! a load tester for any endpoint, and checks on what comes through.

pub mod bars;
pub mod integrity;
pub mod load;
pub mod sim;
pub mod stats;
pub mod wire;
