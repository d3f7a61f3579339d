//! A stand-in for a model server: deterministic, countable, and able to fail in every way on request.
//!
//! It speaks the dialect of OpenAI-compatible servers over real TCP (HTTP/1.1, h2c with prior
//! knowledge, and both over TLS). What it says is numbered: token `i` of generation `n` reads
//! `"n.i "`, so that a tester sees every token that a proxy loses, repeats, reorders or crosses.

mod beside;
mod body;
mod clock;
mod control_routes;
mod controls;
mod embeddings;
mod ending;
mod engine_metrics;
mod generate;
mod json_text;
mod ledger;
mod milliseconds;
mod models;
mod options;
mod pace;
mod problem;
mod prompt_tokens;
mod question;
mod script;
mod server;
mod service;
mod shape;
mod simulator;
mod slots;
mod tls;
mod tools;

pub use beside::Beside;
pub use controls::{Controls, Fault};
pub use ledger::{Counts, Entry, Status};
pub use options::Options;
pub use server::{Server, StartError};
