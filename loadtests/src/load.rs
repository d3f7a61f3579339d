//! The load tester: scenarios against any OpenAI-compatible endpoint, with verdicts that can be believed.

pub mod arrival;
pub mod distribution;
pub mod engine;
pub mod fault;
pub mod level;
pub mod live;
mod machine;
pub mod plan;
mod process;
pub mod record;
pub mod result;
pub mod scenario;
pub mod trace;
