//! Tokens as the conventions count them: what is billed, in the backend's own words, by kind and modality.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Counter, Meter};

use super::with;
use crate::usage::Tokens;

const MODALITY: &str = "gen_ai.token.modality";

/// The conventions' counters, not yet of any model.
#[derive(Clone)]
pub struct Counters {
    input: Counter<u64>,
    output: Counter<u64>,
    cache_read: Counter<u64>,
    cache_write: Counter<u64>,
    reasoning: Counter<u64>,
}

/// Those of one route and model.
pub struct Billable([(BoundCounter<u64>, Count); 9]);

type Count = fn(&Tokens) -> u64;

impl Counters {
    pub fn new(meter: &Meter) -> Self {
        let counter = |kind: &str, words: &'static str| {
            let name = format!("gen_ai.client.inference.usage.{kind}");
            meter.u64_counter(name).with_unit("{token}").with_description(words).build()
        };
        Counters {
            input: counter("input_tokens", "Tokens that were read, cached ones among them."),
            output: counter("output_tokens", "Tokens that were written, thought ones among them."),
            cache_read: counter("cache_read.input_tokens", "Tokens that were read from the backend's cache."),
            cache_write: counter("cache_write.input_tokens", "Tokens that were put into the backend's cache."),
            reasoning: counter("reasoning.output_tokens", "Tokens that were thought and not shown."),
        }
    }

    pub fn of(&self, labels: &[KeyValue]) -> Billable {
        let bound = |counter: &Counter<u64>, modality| counter.bind(&with(labels, MODALITY, modality));
        Billable([
            (bound(&self.input, "text"), |tokens| {
                tokens.input.saturating_sub(tokens.audio_input).saturating_sub(tokens.image_input)
            }),
            (bound(&self.input, "audio"), |tokens| tokens.audio_input),
            (bound(&self.input, "image"), |tokens| tokens.image_input),
            (bound(&self.output, "text"), |tokens| {
                tokens.output.saturating_sub(tokens.audio_output).saturating_sub(tokens.image_output)
            }),
            (bound(&self.output, "audio"), |tokens| tokens.audio_output),
            (bound(&self.output, "image"), |tokens| tokens.image_output),
            (bound(&self.cache_read, "text"), |tokens| tokens.cached_input),
            (bound(&self.cache_write, "text"), |tokens| tokens.cache_writes),
            (bound(&self.reasoning, "text"), |tokens| tokens.reasoning),
        ])
    }
}

impl Billable {
    pub fn add(&self, tokens: &Tokens) {
        for (counter, count) in &self.0 {
            let count = count(tokens);
            if count > 0 {
                counter.add(count);
            }
        }
    }
}
