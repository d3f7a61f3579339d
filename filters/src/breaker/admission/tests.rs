//! Admission, seen from outside: under a modelled server, and under every interleaving.

mod interleavings;
mod promises;
mod simulation;
mod varying;
