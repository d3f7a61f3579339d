//! What an answer will probably use, where the client sets no bound.

use std::sync::{Mutex, PoisonError};

use dashmap::DashMap;

/// Models told apart; the rest share one estimate.
const MAX_MODELS: usize = 100;
const MAX_NAME_BYTES: usize = 128;
const OTHER: &str = "";

/// Assumed of a model of which nothing is known yet.
const FIRST: f64 = 256.0;
/// The share of the newest answer in the mean.
const WEIGHT: f64 = 0.01;

/// What answers of each model have used until now.
#[derive(Default)]
pub struct Estimates {
    models: DashMap<Box<str>, Mutex<Mean>>,
}

#[derive(Default)]
struct Mean {
    tokens: f64,
    answers: u64,
}

impl Estimates {
    /// The tokens that the answer to a question with so much input will probably have.
    pub fn output(&self, model: Option<&str>, _input: u64) -> u64 {
        let known = self.models.get(self.name(model));
        let mean = known.map(|mean| mean.lock().unwrap_or_else(PoisonError::into_inner).tokens);
        mean.unwrap_or(FIRST).round() as u64
    }

    /// An answer has ended.
    pub fn learn(&self, model: Option<&str>, _input: u64, output: u64) {
        let mean = self.models.entry(self.name(model).into()).or_default();
        let mut mean = mean.lock().unwrap_or_else(PoisonError::into_inner);
        mean.answers += 1;
        let weight = (1.0 / mean.answers as f64).max(WEIGHT);
        mean.tokens += weight * (output as f64 - mean.tokens);
    }

    fn name<'name>(&self, model: Option<&'name str>) -> &'name str {
        let model = model.filter(|model| model.len() <= MAX_NAME_BYTES).unwrap_or(OTHER);
        if self.models.contains_key(model) || self.models.len() < MAX_MODELS { model } else { OTHER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_model_names_make_no_more_than_the_bound() {
        let estimates = Estimates::default();
        for name in 0..10_000 {
            estimates.learn(Some(&format!("m{name}")), 1, 10);
        }
        estimates.learn(None, 1, 10);
        assert!(estimates.models.len() <= MAX_MODELS + 1, "{} models", estimates.models.len());
    }
}
