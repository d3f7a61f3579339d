//! The load tester: scenarios against any OpenAI-compatible endpoint, with verdicts that can be believed.

pub mod baseline;
pub mod compare;
pub mod distribution;
pub mod ending;
pub mod files;
pub mod history;
pub mod merge;
pub mod plan;
pub mod result;
pub mod scenario;
pub mod synthetic;
