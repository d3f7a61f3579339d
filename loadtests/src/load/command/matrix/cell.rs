//! One cell of the matrix, as a scenario.

use std::path::Path;

use clap::ValueEnum;

use crate::load::command::target::Named;
use crate::load::scenario::Scenario;

/// What the server answers, which the simulator is told in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Answer {
    Json,
    Stream,
    /// 429, with the time to come again.
    RateLimited,
    /// 500.
    Error,
    /// 400, to a body that is no JSON.
    Malformed,
}

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub answer: Answer,
    pub body_bytes: usize,
    pub concurrency: usize,
}

/// Of a run, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    pub warmup: f64,
    pub seconds: f64,
}

impl Answer {
    pub fn name(self) -> &'static str {
        match self {
            Answer::Json => "chat JSON",
            Answer::Stream => "chat stream",
            Answer::RateLimited => "429",
            Answer::Error => "500",
            Answer::Malformed => "malformed",
        }
    }

    fn keys(self) -> &'static str {
        match self {
            Answer::Json => "output_tokens = 16",
            Answer::Stream => "stream = true\noutput_tokens = 16",
            Answer::RateLimited => "expect_status = 429\nsim = { status = 429, retry_after = \"1\" }",
            Answer::Error => "expect_status = 500\nsim = { status = 500 }",
            Answer::Malformed => "route = \"malformed\"\nexpect_status = 400",
        }
    }
}

impl Cell {
    pub fn scenario(&self, target: &Named, length: Length) -> anyhow::Result<Scenario> {
        let Cell { answer, body_bytes, concurrency } = self;
        let text = format!(
            "name = \"{}, {body_bytes} bytes, {concurrency} users\"\nwarmup_secs = {}\n[target]\nurl = {:?}\n{}\n\
             [load]\nmodel = \"closed\"\nusers = {concurrency}\nduration_secs = {}\n\
             [[requests]]\nbody_bytes = {body_bytes}\n{}\n",
            answer.name(),
            length.warmup,
            target.url,
            target.pid.map(|pid| format!("pid = {pid}")).unwrap_or_default(),
            length.seconds,
            answer.keys(),
        );
        Ok(Scenario::parse(&text, Path::new("matrix"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_a_scenario() {
        let target: Named = "a=http://127.0.0.1:1,7".parse().unwrap();
        for answer in Answer::value_variants() {
            let cell = Cell { answer: *answer, body_bytes: 1024, concurrency: 8 };
            let scenario = cell.scenario(&target, Length { warmup: 0.5, seconds: 1.0 }).unwrap();
            assert_eq!((scenario.requests.len(), scenario.target.pid), (1, Some(7)), "{answer:?}");
        }
    }
}
