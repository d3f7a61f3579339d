//! Labels of metrics, made once and bounded: a client that invents model names cannot fill our memory.

use std::sync::Arc;

use dashmap::DashMap;
use opentelemetry::KeyValue;

use crate::ask::{Ask, Route};

/// Model names told apart in metrics; the rest are `_OTHER`, as the conventions call what is not known.
const MAX_MODELS: usize = 100;
const OTHER: &str = "_OTHER";
const MAX_NAME_BYTES: usize = 128;

/// The `gen_ai.*` attributes of a question, by route and model.
#[derive(Default)]
pub struct Labels {
    known: DashMap<Box<str>, [Arc<[KeyValue]>; Route::ALL.len()]>,
}

impl Labels {
    pub fn of(&self, ask: &Ask) -> Arc<[KeyValue]> {
        let model = ask.question.model.as_deref().filter(|model| model.len() <= MAX_NAME_BYTES).unwrap_or(OTHER);
        if let Some(labels) = self.known.get(model) {
            return labels[ask.route as usize].clone();
        }
        let model = if self.known.len() < MAX_MODELS { model } else { OTHER };
        let labels = self.known.entry(model.into()).or_insert_with(|| Route::ALL.map(|route| labels(route, model)));
        labels[ask.route as usize].clone()
    }
}

fn labels(route: Route, model: &str) -> Arc<[KeyValue]> {
    Arc::new([
        KeyValue::new("gen_ai.operation.name", route.operation()),
        KeyValue::new("gen_ai.provider.name", route.provider()),
        KeyValue::new("gen_ai.request.model", model.to_owned()),
    ])
}

/// The labels of a question that failed, with the word for how.
pub fn with_error(labels: &[KeyValue], error: &'static str) -> Vec<KeyValue> {
    labels.iter().cloned().chain([KeyValue::new("error.type", error)]).collect()
}

/// The word for an answer's error status, from a closed set.
pub fn status(status: u16) -> &'static str {
    match status {
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        408 => "408",
        413 => "413",
        422 => "422",
        429 => "429",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        other if other < 500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn ten_thousand_model_names_make_no_more_than_the_bound() {
        let labels = Labels::default();
        for name in 0..10_000 {
            labels.of(&testing::ask(&format!(r#"{{"model":"m{name}"}}"#)));
        }
        labels.of(&testing::ask(&format!(r#"{{"model":"{}"}}"#, "x".repeat(4096))));
        labels.of(&testing::ask(r#"{}"#));
        assert!(labels.known.len() <= MAX_MODELS + 1, "{} label sets", labels.known.len());
    }
}
