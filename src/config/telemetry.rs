//! The settings of what is told: logs, metrics, spans.

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// `json`, or `pretty` for people.
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, or a filter as `RUST_LOG` takes it.
    pub log_level: LogLevel,
    /// One line for each request.
    pub access_log: bool,
    /// Danger: lets libraries say all that `log_level` allows them, and they quote requests with keys and prompts.
    pub log_secrets: bool,
    /// Whether anything is measured for `/metrics` and the collector.
    pub metrics: bool,
    /// The collector that spans and metrics go to; empty: nobody, unless `OTEL_EXPORTER_OTLP_ENDPOINT` names one.
    pub otlp_endpoint: String,
    /// `grpc`, or `http` for protobuf over HTTP.
    pub otlp_protocol: OtlpProtocol,
    /// How long one batch may take.
    pub otlp_timeout_ms: u64,
    /// Spans that wait for the collector at most; what comes beyond is let go.
    pub otlp_queue: usize,
    /// How often metrics go to the collector.
    pub metrics_interval_secs: u64,
    /// The share of requests that spans are told of, where whoever asks does not say.
    pub sample_ratio: f64,
    /// Whether a request's own `traceparent` decides if it is sampled. Turn it off where strangers ask.
    pub trust_parent: bool,
    /// Who tells, unless `OTEL_SERVICE_NAME` says.
    pub service_name: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry {
            log_format: LogFormat::default(),
            log_level: LogLevel::default(),
            access_log: true,
            log_secrets: false,
            metrics: true,
            otlp_endpoint: String::new(),
            otlp_protocol: OtlpProtocol::default(),
            otlp_timeout_ms: 5000,
            otlp_queue: 2048,
            metrics_interval_secs: 15,
            sample_ratio: 0.01,
            trust_parent: true,
            service_name: "outrigger".to_owned(),
        }
    }
}

impl Telemetry {
    /// Whether there is a collector to be told.
    pub fn exports(&self) -> bool {
        !self.otlp_address().is_empty()
    }

    /// Where the collector is, by the settings or else by the environment, as OpenTelemetry's specification has it.
    pub fn otlp_address(&self) -> String {
        let names = ["", "_TRACES", "_METRICS"].map(|signal| format!("OTEL_EXPORTER_OTLP{signal}_ENDPOINT"));
        let named = || names.iter().filter_map(|name| std::env::var(name).ok()).find(|address| !address.is_empty());
        if self.otlp_endpoint.is_empty() { named().unwrap_or_default() } else { self.otlp_endpoint.clone() }
    }

    /// How it is spoken to: by the environment only where that names the collector, too.
    pub fn otlp_protocol(&self) -> OtlpProtocol {
        match std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() {
            Ok("http/protobuf") if self.otlp_endpoint.is_empty() => OtlpProtocol::Http,
            Ok("grpc") if self.otlp_endpoint.is_empty() => OtlpProtocol::Grpc,
            _ => self.otlp_protocol,
        }
    }

    /// The first key that cannot be meant so.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String)> {
        let endpoint = self.otlp_endpoint.parse::<http::Uri>();
        let is_http = endpoint.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        if !self.otlp_endpoint.is_empty() && !is_http {
            let words = "an address such as http://127.0.0.1:4317 is expected".to_owned();
            return Some(("telemetry.otlp_endpoint", words));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Some(("telemetry.sample_ratio", "a share is from 0 to 1".to_owned()));
        }
        let zero = [
            ("telemetry.otlp_timeout_ms", self.otlp_timeout_ms == 0),
            ("telemetry.otlp_queue", self.otlp_queue == 0),
            ("telemetry.metrics_interval_secs", self.metrics_interval_secs == 0),
        ];
        let (key, _) = zero.into_iter().find(|(_, zero)| *zero)?;
        Some((key, "must be at least 1".to_owned()))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    #[default]
    Grpc,
    Http,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Json,
    Pretty,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct LogLevel(pub String);

impl Default for LogLevel {
    fn default() -> Self {
        LogLevel("info".to_owned())
    }
}
