//! The requests of a scenario, written when they are due: what the kinds say, and what a trace says instead.

use serde_json::Value;

use crate::load::plan::Planned;
use crate::load::scenario::{Kind, Route, Scenario};
use crate::wire::endpoint::Endpoint;
use crate::wire::prompt::composer::{BYTES_A_TOKEN, Composer, Question};
use crate::wire::prompt::{Form, Prompt, Shape};

/// Where a kind gives no length.
const BODY_BYTES: usize = 1024;

/// What must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub status: u16,
    pub stream: bool,
    /// Whether the integrity check can read what comes.
    pub checkable: bool,
}

pub struct Requests {
    sources: Vec<Source>,
    /// Each kind's weight and those before it.
    weights: Vec<f64>,
    draw: fastrand::Rng,
}

struct Source {
    expectation: Expectation,
    prompt: Prompt,
    composer: Composer,
    body_tokens: u32,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    unique: bool,
}

impl Requests {
    /// The seed is of the draws that are not the plan's own.
    pub fn new(scenario: &Scenario, endpoint: &Endpoint, seed: u64) -> Requests {
        let weights = scenario.requests.iter().scan(0.0, |sum, kind| {
            *sum += kind.weight;
            Some(*sum)
        });
        Requests {
            weights: weights.collect(),
            sources: scenario.requests.iter().map(|kind| Source::new(scenario, kind, endpoint)).collect(),
            draw: fastrand::Rng::with_seed(seed),
        }
    }

    /// One of the kinds, by weight.
    pub fn draw(&mut self) -> Planned {
        let value = self.draw.f64() * self.weights.last().copied().unwrap_or(0.0);
        let kind = self.weights.partition_point(|weight| *weight <= value).min(self.sources.len().saturating_sub(1));
        Planned { kind, ..Planned::default() }
    }

    /// Writes the whole request over what the buffer held. A plan that names a kind that is none gets the last.
    pub fn write(&mut self, planned: &Planned, request: &mut Vec<u8>) -> Option<Expectation> {
        let last = self.sources.len().checked_sub(1)?;
        let source = &mut self.sources[planned.kind.min(last)];
        source.write(planned, request);
        Some(source.expectation)
    }
}

impl Source {
    fn new(scenario: &Scenario, kind: &Kind, endpoint: &Endpoint) -> Source {
        let form = match kind.route {
            Route::Chat => Form::Chat,
            Route::Completions => Form::Completions,
            Route::Embeddings => Form::Embeddings,
            Route::Malformed => Form::Malformed,
        };
        let shape = Shape {
            form,
            size: kind.body_bytes.unwrap_or(BODY_BYTES),
            stream: kind.stream,
            usage: true,
            model: scenario.target.model.clone(),
            output_tokens: kind.output_tokens,
            sim: kind.sim.clone().unwrap_or(Value::Null),
        };
        let head = endpoint.head(form.path());
        let mut prompt = Prompt::under(&head, &shape);
        prompt.fresh();
        Source {
            expectation: Expectation {
                status: kind.expect_status,
                stream: kind.stream && matches!(form, Form::Chat | Form::Completions),
                checkable: form == Form::Chat,
            },
            prompt,
            composer: Composer::under(&head, &shape, scenario.seed),
            body_tokens: u32::try_from(shape.size / BYTES_A_TOKEN).unwrap_or(u32::MAX),
            input_tokens: kind.input_tokens,
            output_tokens: kind.output_tokens,
            unique: kind.unique,
        }
    }

    fn write(&mut self, planned: &Planned, request: &mut Vec<u8>) {
        let input_tokens = planned.input_tokens.or(self.input_tokens);
        if input_tokens.is_none() && planned.output_tokens.is_none() && planned.blocks.is_empty() {
            let written = if self.unique { self.prompt.fresh() } else { self.prompt.latest() };
            request.clear();
            request.extend_from_slice(written);
            return;
        }
        let question = Question {
            input_tokens: input_tokens.unwrap_or(self.body_tokens),
            output_tokens: planned.output_tokens.or(self.output_tokens),
            blocks: &planned.blocks,
            unique: self.unique,
        };
        self.composer.write(question, request);
    }
}

#[cfg(test)]
mod tests;
