//! The store and the shared windows against real servers, and their faults.

mod server;
mod side;
mod windows;
