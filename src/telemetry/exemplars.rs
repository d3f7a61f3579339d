//! For each bucket of some histograms a request that fell into it, with its trace: from a slow bucket to why.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{SpanId, TraceId};
use outrigger_filters::trace::{Record, Seen};

/// The histograms that have them, as Prometheus names them.
pub const DURATION: &str = "gen_ai_server_request_duration_seconds";
pub const FIRST_TOKEN: &str = "gen_ai_server_time_to_first_token_seconds";

/// Series kept at most: models and routes are bounded already.
const MAX_SERIES: usize = 1024;

#[derive(Clone, Debug)]
pub struct Exemplar {
    pub trace: TraceId,
    pub span: SpanId,
    pub value: f64,
    pub at: SystemTime,
}

/// What tells a series from others of its family.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    family: &'static str,
    operation: String,
    provider: String,
    model: String,
    error: String,
}

/// The last few of each series, of different sizes.
#[derive(Default)]
pub struct Exemplars(Mutex<HashMap<Key, Vec<Exemplar>>>);

/// Kept of one series: as many as a histogram has buckets that matter.
const KEPT: usize = 32;

impl Exemplars {
    /// Takes a request that is sampled, so that there is a trace to be found.
    pub fn take(&self, record: &Record) {
        let Some(seen) = record.seen.as_ref().filter(|_| record.context.is_sampled()) else { return };
        let at = record.began + record.took;
        let exemplar =
            |value: f64| Exemplar { trace: record.context.trace_id(), span: record.context.span_id(), value, at };
        self.keep(DURATION, seen, exemplar(record.took.as_secs_f64()));
        if let (Some(first), None) = (seen.first_token, seen.error) {
            self.keep(FIRST_TOKEN, seen, exemplar(first.as_secs_f64()));
        }
    }

    fn keep(&self, family: &'static str, seen: &Seen, exemplar: Exemplar) {
        let (Some(route), Some(model)) = (seen.route, &seen.model) else { return };
        let key = Key {
            family,
            operation: route.operation().to_owned(),
            provider: route.provider().to_owned(),
            model: model.to_string(),
            error: seen.error.unwrap_or_default().to_owned(),
        };
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= MAX_SERIES && !series.contains_key(&key) {
            return;
        }
        let kept = series.entry(key).or_default();
        // One for each power of the fourth root of two, the newest.
        let size = |value: f64| (value.max(1e-9).log2() * 4.0).floor();
        kept.retain(|other| size(other.value) != size(exemplar.value));
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(exemplar);
    }

    /// The newest of a series in a bucket: more than `above`, at most `most`.
    pub fn find<'labels>(
        &self,
        family: &str,
        label: impl Fn(&str) -> &'labels str,
        above: f64,
        most: f64,
    ) -> Option<Exemplar> {
        let family = [DURATION, FIRST_TOKEN].into_iter().find(|known| *known == family)?;
        let key = Key {
            family,
            operation: label("gen_ai_operation_name").to_owned(),
            provider: label("gen_ai_provider_name").to_owned(),
            model: label("gen_ai_request_model").to_owned(),
            error: label("error_type").to_owned(),
        };
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |exemplar: &&Exemplar| exemplar.value > above && exemplar.value <= most;
        series.get(&key)?.iter().filter(fits).max_by_key(|exemplar| exemplar.at).cloned()
    }
}
