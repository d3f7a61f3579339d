//! Limits of requests and tokens that hold over any number of sidecars.

pub mod remote;
