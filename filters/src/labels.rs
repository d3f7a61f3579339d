//! Labels of metrics, made once and bounded: a client that invents model names cannot fill our memory.

use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use opentelemetry::KeyValue;

use crate::ask::{Ask, Route};

/// Model names told apart in metrics; the rest are `_OTHER`, as the conventions call what is not known.
pub const MAX_MODELS: usize = 100;
pub const OTHER: &str = "_OTHER";
pub const MAX_NAME_BYTES: usize = 128;
pub const MODEL: &str = "gen_ai.request.model";

/// What is measured of questions, bound to their `gen_ai.*` attributes once for each route and model:
/// looking attributes up at every measurement would cost more than all the rest of it.
pub struct Series<B> {
    known: DashMap<Box<str>, [OnceLock<Arc<B>>; Route::ALL.len()]>,
    bind: Box<dyn Fn(Vec<KeyValue>) -> B + Send + Sync>,
}

impl<B> Series<B> {
    pub fn new(bind: impl Fn(Vec<KeyValue>) -> B + Send + Sync + 'static) -> Self {
        Series { known: DashMap::new(), bind: Box::new(bind) }
    }

    /// A name gets a place of its own once it has been answered under: who invents names takes none from the others.
    pub fn of(&self, ask: &Ask, answered: bool) -> Arc<B> {
        let model = ask.question.model.as_deref().filter(|model| is_harmless(model)).unwrap_or(OTHER);
        let bound = |model: &str| Arc::new((self.bind)(labels(ask.route, model)));
        if let Some(routes) = self.known.get(model) {
            return routes[ask.route as usize].get_or_init(|| bound(model)).clone();
        }
        let model = if answered && self.known.len() < MAX_MODELS { model } else { OTHER };
        let routes = self.known.entry(model.into()).or_default();
        routes[ask.route as usize].get_or_init(|| bound(model)).clone()
    }
}

/// How keys of well-known services begin.
const KEYS: [&str; 16] = [
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "akia",
    "asia",
    "ghp_",
    "gho_",
    "github_pat_",
    "hf_",
    "gsk_",
    "xai-",
    "xox",
    "aiza",
    "eyj",
    "bearer",
];

/// Whether a name that somebody else wrote can be told: short, plain, and no key that stands in the wrong place.
pub fn is_harmless(name: &str) -> bool {
    let is_plain = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let begins = |key: &&str| name.get(..key.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(key));
    is_plain && !KEYS.iter().any(begins)
}

fn labels(route: Route, model: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("gen_ai.operation.name", route.operation()),
        KeyValue::new("gen_ai.provider.name", route.provider()),
        KeyValue::new(MODEL, model.to_owned()),
    ]
}

/// The model's name among them.
pub fn model(labels: &[KeyValue]) -> Arc<str> {
    let model = labels.iter().find(|label| label.key.as_str() == MODEL);
    model.map_or_else(|| OTHER.into(), |label| label.value.as_str().into())
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
    fn a_key_in_the_place_of_a_name_is_not_told() {
        for name in
            ["gpt-4o", "/models/Qwen3.gguf", "meta-llama/Llama-3.3-70B-Instruct", "ft:gpt-4o:org::id", "skylark"]
        {
            assert!(is_harmless(name), "{name}");
        }
        for name in ["", "sk-proj-1", "SK-1", "Bearer", "eyJhbGciOi", "two words", "tab\t", "é", &"x".repeat(129)] {
            assert!(!is_harmless(name), "{name}");
        }
    }

    #[test]
    fn ten_thousand_model_names_make_no_more_than_the_bound() {
        let labels = Series::new(|labels| labels);
        for name in 0..10_000 {
            labels.of(&testing::ask(&format!(r#"{{"model":"m{name}"}}"#)), true);
        }
        labels.of(&testing::ask(&format!(r#"{{"model":"{}"}}"#, "x".repeat(4096))), true);
        labels.of(&testing::ask(r#"{}"#), true);
        assert!(labels.known.len() <= MAX_MODELS + 1, "{} label sets", labels.known.len());
    }

    #[test]
    fn an_invented_name_takes_no_place() {
        let labels = Series::new(|labels| model(&labels));
        for name in 0..10_000 {
            let ask = testing::ask(&format!(r#"{{"model":"m{name}"}}"#));
            assert_eq!(&*labels.of(&ask, false), &Arc::from(OTHER));
        }
        let real = testing::ask(r#"{"model":"real"}"#);
        assert_eq!(&*labels.of(&real, true), &Arc::from("real"));
        assert_eq!(&*labels.of(&real, false), &Arc::from("real"), "a failure of one that is known is its own");
    }
}
