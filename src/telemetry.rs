//! What is told of requests, and who is told: logs, metrics, spans.
//!
//! A request says nothing while it is answered: it leaves its record on a desk, and a thread of its own does the telling.

mod access;
mod clerk;
mod desk;
mod exemplars;
mod logs;
mod openmetrics;
mod otlp;
mod propagation;
mod server;
pub mod spans;
mod words;

use std::sync::Arc;

use anyhow::Context as _;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use outrigger_filters::reply::kept;
use outrigger_filters::trace::Seen;
use outrigger_filters::{Reply, dedup};
use prometheus::Registry;

use crate::config::Telemetry;
pub use clerk::{Clerk, Orders};
pub use desk::{Desk, PLACES};
pub use exemplars::Exemplars;
pub use logs::{Logs, Verbosity, check as check_level, start as start_logging};
pub use otlp::Otlp;
pub use propagation::Telling;
pub use server::{ServerMetrics, Tokens, word};
pub use words::of_error;

/// Where all instruments are made and read.
pub struct Metrics {
    pub registry: Registry,
    pub meter: Meter,
    pub exemplars: Arc<Exemplars>,
    /// Held: the instruments end with it.
    provider: SdkMeterProvider,
}

impl Metrics {
    pub fn new(config: &Telemetry, otlp: Option<&Otlp>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let mut builder = SdkMeterProvider::builder().with_resource(resource(config));
        if config.metrics {
            let reader = opentelemetry_prometheus::exporter()
                .with_registry(registry.clone())
                .scope_info_enabled(false)
                .build()?;
            builder = builder.with_reader(reader);
            if let Some(otlp) = otlp {
                builder = builder.with_reader(otlp.metrics().context("telemetry.otlp_endpoint")?);
            }
        }
        let provider = builder.build();
        let meter = provider.meter("outrigger");
        Ok(Metrics { registry, meter, exemplars: Arc::default(), provider })
    }

    /// Tells what is not told yet.
    pub fn finish(&self) {
        // Whether the collector is there for it was said when it was not.
        let _ = self.provider.shutdown_with_timeout(otlp::LAST_WORDS);
    }

    /// All that is measured, for Prometheus: with examples, if it understands them.
    pub fn text(&self, accepted: &str) -> (&'static str, String) {
        let mut families = self.registry.gather();
        families.iter_mut().for_each(openmetrics::as_others_name_it);
        openmetrics::text(&families, &self.exemplars, openmetrics::Form::accepted(accepted))
    }
}

/// Who tells: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count, as everywhere.
pub fn resource(config: &Telemetry) -> Resource {
    let mut builder = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        builder = builder.with_service_name(config.service_name.clone());
    }
    builder.with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

/// What an answer's head says that is told of it.
pub fn note(seen: &mut Seen, reply: &Reply) {
    let word = |header: &str, known: &[&'static str]| {
        let value = reply.headers.get(header)?;
        known.iter().copied().find(|word| value == word)
    };
    let kinds = [kept::HIT, kept::SEMANTIC, kept::STALE, kept::MISS, kept::BYPASS, kept::COALESCED];
    seen.cache = word(kept::HEADER, &kinds);
    seen.dedup = word(dedup::HEADER, &["leader", "follower"]);
    seen.charge.clone_from(&reply.charge);
}
