//! The load tester: scenarios against any OpenAI-compatible endpoint, with verdicts that can be believed.

pub mod distribution;
pub mod live;
pub mod metrics;
pub mod plan;
pub mod progress;
pub mod report;
pub mod result;
pub mod scenario;
