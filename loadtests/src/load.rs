//! The load tester: scenarios against any OpenAI-compatible endpoint, with verdicts that can be believed.

pub mod distribution;
pub mod plan;
pub mod result;
pub mod scenario;
