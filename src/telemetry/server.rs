//! The metrics of what clients saw.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Histogram, Meter};
use outrigger_filters::labels::{self, Series};
use outrigger_filters::{Ask, End};
use pingora::{Error, ErrorSource, ErrorType};
use tokio::time::Instant;

/// When the tokens of one answer went out to one client.
pub struct Tokens {
    begun: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    count: u32,
}

impl Tokens {
    pub fn begin() -> Self {
        Tokens { begun: Instant::now(), first: None, last: None, count: 0 }
    }

    pub fn saw(&mut self, count: usize) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.count = self.count.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub fn to_first(&self) -> Option<Duration> {
        Some(self.first? - self.begun)
    }

    /// The mean time of a token behind the first.
    pub fn per_token(&self) -> Option<Duration> {
        let more = self.count.checked_sub(1).filter(|more| *more > 0)?;
        Some((self.last? - self.first?) / more)
    }
}

/// What clients saw of the held routes, by the server side of the OpenTelemetry GenAI conventions:
/// each client is counted, also those that share an answer.
pub struct ServerMetrics(Series<Bound>);

/// The instruments of one route and model.
struct Bound {
    duration: BoundHistogram<f64>,
    first_token: BoundHistogram<f64>,
    per_token: BoundHistogram<f64>,
    /// Errors are rare and have a label more.
    errors: Histogram<f64>,
    labels: Vec<KeyValue>,
    model: Arc<str>,
}

/// Buckets of the conventions.
const DURATION_SECONDS: [f64; 14] = outrigger_filters::latency::SECONDS;
const FIRST_TOKEN_SECONDS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const PER_TOKEN_SECONDS: [f64; 13] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

impl ServerMetrics {
    pub fn new(meter: &Meter) -> Self {
        let histogram = |name, description, buckets: &[f64]| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(description);
            builder.with_boundaries(buckets.to_vec()).build()
        };
        let duration = histogram(
            "gen_ai.server.request.duration",
            "Time from a request's head until the last byte of its answer was written.",
            &DURATION_SECONDS,
        );
        let first_token = histogram(
            "gen_ai.server.time_to_first_token",
            "Time from a request's head until the first token of a streamed answer was written.",
            &FIRST_TOKEN_SECONDS,
        );
        let per_token = histogram(
            "gen_ai.server.time_per_output_token",
            "Mean time between the tokens of a streamed answer, from the second on.",
            &PER_TOKEN_SECONDS,
        );
        ServerMetrics(Series::new(move |labels| Bound {
            duration: duration.bind(&labels),
            first_token: first_token.bind(&labels),
            per_token: per_token.bind(&labels),
            errors: duration.clone(),
            model: labels::model(&labels),
            labels,
        }))
    }

    /// An answer has been written, to its end or not. Gives the model's name, as labels have it.
    pub fn ended(&self, ask: &Ask, tokens: &Tokens, status: StatusCode, end: Result<&End, &Error>) -> Arc<str> {
        match end {
            Ok(_) if status.is_success() => {
                let bound = self.0.of(ask, true);
                bound.duration.record(tokens.begun.elapsed().as_secs_f64());
                if let Some(time) = tokens.to_first() {
                    bound.first_token.record(time.as_secs_f64());
                }
                if let Some(time) = tokens.per_token() {
                    bound.per_token.record(time.as_secs_f64());
                }
                bound.model.clone()
            }
            Ok(_) => self.failed(ask, tokens, labels::status(status.as_u16())),
            Err(error) => self.failed(ask, tokens, word(error)),
        }
    }

    pub fn failed(&self, ask: &Ask, tokens: &Tokens, error: &'static str) -> Arc<str> {
        let bound = self.0.of(ask, false);
        let labels = labels::with_error(&bound.labels, error);
        bound.errors.record(tokens.begun.elapsed().as_secs_f64(), &labels);
        bound.model.clone()
    }
}

/// How writing an answer failed.
pub fn word(error: &Error) -> &'static str {
    match (error.etype(), error.esource()) {
        (ErrorType::Custom(code), _) => code,
        (ErrorType::WriteTimedout, _) => "client_too_slow",
        (_, ErrorSource::Downstream) => "abandoned",
        _ => "write_failed",
    }
}
