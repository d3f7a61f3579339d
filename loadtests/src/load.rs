//! The load tester: scenarios against any OpenAI-compatible endpoint, with verdicts that can be believed.

pub mod arrival;
pub mod command;
pub mod distribution;
mod drive;
pub mod engine;
pub mod fault;
mod figures;
pub mod level;
pub mod live;
mod machine;
pub mod metrics;
pub mod plan;
mod process;
pub mod progress;
pub mod record;
pub mod report;
pub mod result;
pub mod scenario;
pub mod search;
pub mod trace;
mod turns;
