//! Where the backend's time went: until its first piece, between pieces, and in all.
//!
//! It stands last, so it times one real call for however many readers; what each client saw is
//! measured where the answer is written. Metrics are those of the OpenTelemetry GenAI conventions,
//! client side, since towards the backend we are the client.

mod config;
pub mod profile;
pub mod regression;
pub mod report;
mod said;
pub mod slow;

use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Histogram, Meter};
use tokio::time::Instant;

use crate::labels::{self, Series};
use crate::reply::{Body, Kind};
use crate::trace::{self, Told};
pub use config::Config;

use crate::{Ask, End, Event, Filter, Next, Refusal, Reply, Watch};

/// Buckets of the conventions, for durations and for times between chunks.
pub const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// The instruments of one route and model.
struct Bound {
    duration: BoundHistogram<f64>,
    first_chunk: BoundHistogram<f64>,
    per_chunk: BoundHistogram<f64>,
    /// Errors are rare and have a label more.
    errors: Histogram<f64>,
    labels: Vec<KeyValue>,
    model: Arc<str>,
}

pub struct Latency(Series<Bound>);

impl Latency {
    pub fn new(meter: &Meter) -> Self {
        let histogram = |name, description| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(SECONDS.to_vec())
                .build()
        };
        let duration = histogram("gen_ai.client.operation.duration", "Time of one call to the backend, whole.");
        let first_chunk = histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "Time from the call until the first chunk of a streamed answer.",
        );
        let per_chunk = histogram(
            "gen_ai.client.operation.time_per_output_chunk",
            "Time between two chunks of a streamed answer, from the second on.",
        );
        Latency(Series::new(move |labels| Bound {
            duration: duration.bind(&labels),
            first_chunk: first_chunk.bind(&labels),
            per_chunk: per_chunk.bind(&labels),
            errors: duration.clone(),
            model: labels::model(&labels),
            labels,
        }))
    }
}

#[async_trait]
impl Filter for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        let bound = self.0.of(&ask, false);
        let streams = ask.question.stream;
        let question = &ask.question;
        let wishes = || Told {
            max_tokens: question.max_tokens,
            temperature: question.temperature,
            choices: question.choices,
            ..Told::default()
        };
        let told = next.trace().0.is_sampled().then(|| Box::new(wishes()));
        let (trace, span) = next.trace();
        let trace = trace.clone();
        let begun = Instant::now();
        let mut stopwatch = Stopwatch {
            bound,
            begun,
            first: None,
            last: None,
            chunks: 0,
            open: true,
            status: None,
            streams,
            call: None,
            told,
        };
        // If the caller stops waiting for the head, dropping the stopwatch counts the call as abandoned.
        let answer = next.run(ask.clone()).await;
        stopwatch.call = Some(trace.call(span));
        match answer {
            Ok(reply) => {
                if reply.status.is_success() && *stopwatch.bound.model == *labels::OTHER {
                    stopwatch.bound = self.0.of(&ask, true);
                }
                let failed = reply.status.is_client_error() || reply.status.is_server_error();
                stopwatch.status = failed.then(|| reply.status.as_u16());
                if let Body::Whole(body) = &reply.body {
                    stopwatch.hear(body);
                    stopwatch.close(&End::Complete);
                    return Ok(reply);
                }
                Ok(reply.watched(Box::new(stopwatch)))
            }
            Err(refusal) => {
                stopwatch.fail(refusal.reason.label());
                Err(refusal)
            }
        }
    }
}

/// Times one call; its state is the watch's own.
struct Stopwatch {
    bound: Arc<Bound>,
    begun: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    chunks: u32,
    open: bool,
    /// The status of an answer that is an error.
    status: Option<u16>,
    streams: bool,
    /// None until the head has come.
    call: Option<trace::Call>,
    /// Of requests that spans are told of.
    told: Option<Box<Told>>,
}

impl Stopwatch {
    fn fail(&mut self, error: &'static str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.bound.errors.record(seconds, &labels::with_error(&self.bound.labels, error));
        self.over(Some(error));
    }

    fn hear(&mut self, bytes: &[u8]) {
        if let Some(told) = &mut self.told {
            said::hear(&mut told.said, bytes);
        }
    }

    fn over(&mut self, error: Option<&'static str>) {
        self.open = false;
        let Some(call) = self.call.take() else { return };
        let since = |chunk: Option<Instant>| chunk.map(|chunk| chunk - self.begun);
        call.over(|called| {
            called.model = Some(self.bound.model.clone());
            called.streams = self.streams;
            (called.first_chunk, called.last_chunk) = (since(self.first), since(self.last));
            called.chunks = self.chunks;
            called.error = error;
            called.told = self.told.take();
        });
    }

    fn close(&mut self, end: &End) {
        match (end, self.status) {
            (End::Complete, None) => {
                self.bound.duration.record(self.begun.elapsed().as_secs_f64());
                self.over(None);
            }
            (End::Complete, Some(status)) => self.fail(labels::status(status)),
            (End::Broken(broken), _) => self.fail(broken.code()),
            (End::Abandoned, _) => self.fail("abandoned"),
        }
    }
}

impl Watch for Stopwatch {
    fn event(&mut self, event: &Event) {
        if event.kind != Kind::Data {
            return;
        }
        self.hear(&event.bytes);
        let now = Instant::now();
        self.chunks = self.chunks.saturating_add(1);
        match self.last.replace(now) {
            None => {
                self.first = Some(now);
                self.bound.first_chunk.record((now - self.begun).as_secs_f64());
            }
            Some(last) => self.bound.per_chunk.record((now - last).as_secs_f64()),
        }
    }

    fn end(mut self: Box<Self>, end: &End) {
        self.close(end);
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        if self.open {
            self.close(&End::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests;
