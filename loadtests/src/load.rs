//! The load tester: scenarios against any OpenAI-compatible endpoint, with verdicts that can be believed.

pub mod arrival;
pub mod fault;
pub mod level;
pub mod plan;
pub mod result;
pub mod scenario;
pub mod trace;
