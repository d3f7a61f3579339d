//! The store and the shared windows against real servers, and their faults. Needs redis-server and redis-cli.

mod budgets;
mod cluster;
mod faults;
mod loss;
mod property;
mod proxy;
mod secure;
mod server;
mod side;
mod windows;
