//! Spans and metrics to a collector, by OTLP over gRPC or HTTP.
//!
//! A collector that is down, slow or refuses is no concern of any request: what is told waits in a bounded queue, what
//! has no place there is let go, and that the collector does not take it is said once, as is that it does again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as ExportSpans, SpanProcessor as _,
};
use tokio_util::context::TokioContext;
use tonic::transport::ClientTlsConfig;

use crate::config::{OtlpProtocol, Telemetry};
use crate::http_client;

/// How long the last words may take when the process ends.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

pub struct Otlp {
    config: Telemetry,
    /// What the exporters connect on: no thread of those that serve.
    runtime: tokio::runtime::Runtime,
    taken: Arc<[Taken; 2]>,
}

/// What became of what was sent, of one signal.
struct Taken {
    signal: &'static str,
    good: AtomicU64,
    failed: AtomicU64,
    /// Spans that were handed over, and those that came out of the queue: what is between them waits or was let go.
    given: AtomicU64,
    sent: AtomicU64,
    fails: AtomicBool,
}

impl Taken {
    const fn new(signal: &'static str) -> Self {
        Taken {
            signal,
            good: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            given: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            fails: AtomicBool::new(false),
        }
    }

    fn note(&self, outcome: &OTelSdkResult) {
        let failed = outcome.is_err();
        if failed { &self.failed } else { &self.good }.fetch_add(1, Ordering::Relaxed);
        let signal = self.signal;
        match (self.fails.swap(failed, Ordering::Relaxed), outcome) {
            (false, Err(error)) => {
                let why = why(error);
                tracing::warn!(signal, why, "the collector does not take what it is told; requests go on as before");
            }
            (true, Ok(())) => tracing::info!(signal, "the collector takes what it is told again"),
            _ => {}
        }
    }
}

/// Without the collector's own words, which may quote what it was sent.
fn why(error: &OTelSdkError) -> &'static str {
    match error {
        OTelSdkError::Timeout(_) => "it takes too long",
        OTelSdkError::AlreadyShutdown => "it is shut down already",
        OTelSdkError::InternalFailure(_) => "it cannot be reached, or refuses",
    }
}

impl Otlp {
    /// None where nobody is to be told.
    pub fn new(config: &Telemetry) -> anyhow::Result<Option<Self>> {
        if !config.exports() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp")
            .enable_all()
            .build()
            .context("a thread for the collector")?;
        let taken = Arc::new([Taken::new("spans"), Taken::new("metrics")]);
        Ok(Some(Otlp { config: config.clone(), runtime, taken }))
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.config.otlp_timeout_ms)
    }

    /// Where the settings name no collector, the environment does, by the rules of the specification.
    fn aimed<B: WithExportConfig>(&self, builder: B, path: &str) -> B {
        let builder = builder.with_timeout(self.timeout());
        match self.config.otlp_endpoint.trim_end_matches('/') {
            "" => builder,
            endpoint => builder.with_endpoint(format!("{endpoint}{path}")),
        }
    }

    /// With certificates to trust, where they are needed.
    fn over_grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let builder = self.aimed(builder, "");
        match self.config.otlp_address().starts_with("https://") {
            true => builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()),
            false => builder,
        }
    }

    /// Each signal has a path of its own.
    fn over_http<B: WithExportConfig + WithHttpConfig>(&self, builder: B, path: &str) -> anyhow::Result<B> {
        let client = http_client::client(self.timeout()).context("an HTTP client")?;
        Ok(self.aimed(builder, path).with_protocol(Protocol::HttpBinary).with_http_client(client))
    }

    fn telling<E>(&self, exporter: E, signal: usize) -> Telling<E> {
        Telling {
            exporter,
            handle: self.runtime.handle().clone(),
            taken: self.taken.clone(),
            signal,
            timeout: self.timeout(),
        }
    }

    fn processor(&self, resource: &Resource) -> anyhow::Result<BatchSpanProcessor> {
        let _within = self.runtime.enter();
        let exporter = match self.config.otlp_protocol() {
            OtlpProtocol::Grpc => self.over_grpc(SpanExporter::builder().with_tonic()).build(),
            OtlpProtocol::Http => self.over_http(SpanExporter::builder().with_http(), "/v1/traces")?.build(),
        }?;
        let queue = self.config.otlp_queue.max(1);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(queue)
            .with_max_export_batch_size(queue.min(512))
            .with_scheduled_delay(Duration::from_secs(1));
        let processor = BatchSpanProcessor::builder(self.telling(exporter, 0)).with_batch_config(batches.build());
        let mut processor = processor.build();
        processor.set_resource(resource);
        Ok(processor)
    }

    pub fn metrics(&self) -> anyhow::Result<PeriodicReader<impl PushMetricExporter>> {
        let _within = self.runtime.enter();
        let exporter = match self.config.otlp_protocol() {
            OtlpProtocol::Grpc => self.over_grpc(MetricExporter::builder().with_tonic()).build(),
            OtlpProtocol::Http => self.over_http(MetricExporter::builder().with_http(), "/v1/metrics")?.build(),
        }?;
        let interval = Duration::from_secs(self.config.metrics_interval_secs.max(1));
        Ok(PeriodicReader::builder(self.telling(exporter, 1)).with_interval(interval).build())
    }

    /// What hands spans over, and counts them.
    pub fn spans(&self, resource: &Resource) -> anyhow::Result<Spans> {
        Ok(Spans { processor: self.processor(resource)?, taken: self.taken.clone() })
    }

    pub fn observe(&self, meter: &Meter) {
        let (taken, queue) = (self.taken.clone(), self.config.otlp_queue as u64);
        meter
            .u64_observable_counter("outrigger_telemetry_lost_spans")
            .with_description("Spans that were let go since the collector's queue was full: at least so many.")
            .with_callback(move |observer| {
                let [spans, _] = &*taken;
                let out = spans.sent.load(Ordering::Relaxed) + queue;
                observer.observe(spans.given.load(Ordering::Relaxed).saturating_sub(out), &[]);
            })
            .build();
        let taken = self.taken.clone();
        meter
            .u64_observable_counter("outrigger_telemetry_exports")
            .with_description("Batches that were sent to the collector, by signal and by what became of them.")
            .with_callback(move |observer| {
                for Taken { signal, good, failed, .. } in &*taken {
                    for (outcome, count) in [("taken", good), ("failed", failed)] {
                        let labels = [KeyValue::new("signal", *signal), KeyValue::new("outcome", outcome)];
                        observer.observe(count.load(Ordering::Relaxed), &labels);
                    }
                }
            })
            .build();
    }
}

/// Takes spans for the collector.
pub struct Spans {
    processor: BatchSpanProcessor,
    taken: Arc<[Taken; 2]>,
}

impl Spans {
    pub fn take(&self, span: SpanData) {
        self.taken[0].given.fetch_add(1, Ordering::Relaxed);
        self.processor.on_end(span);
    }

    /// Tells what is not told yet.
    pub fn finish(&self) {
        // Whether the collector is there for it was said when it was not.
        let _ = self.processor.shutdown_with_timeout(LAST_WORDS);
    }
}

/// An exporter that has its runtime about it, an end to its patience, and says once that it fails.
struct Telling<E> {
    exporter: E,
    handle: tokio::runtime::Handle,
    taken: Arc<[Taken; 2]>,
    signal: usize,
    timeout: Duration,
}

impl<E> Telling<E> {
    async fn told(&self, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        // The exporter's own timeout leaves out what comes before the request is sent.
        let within = async { tokio::time::timeout(self.timeout, export).await };
        let outcome = TokioContext::new(within, self.handle.clone()).await;
        let outcome = outcome.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)));
        self.taken[self.signal].note(&outcome);
        outcome
    }
}

impl<E> fmt::Debug for Telling<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Telling")
    }
}

impl<E: ExportSpans> ExportSpans for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.taken[self.signal].sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.told(self.exporter.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Telling<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.told(self.exporter.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
