//! Every name, unit and bucket that we tell under `gen_ai` is the conventions' own.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde_json::json;

use super::collector::{Collector, value};
use super::{CHAT, tells};
use crate::support::{Outrigger, Simulator, UNBROKEN, chat, post, stream};

const CHUNKS: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const FIRST: &[f64] = &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const EACH: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The conventions' metrics that we tell: name, unit, buckets; a counter has none.
const METRICS: [(&str, &str, &[f64]); 12] = [
    ("gen_ai.server.request.duration", "s", CHUNKS),
    ("gen_ai.server.time_to_first_token", "s", FIRST),
    ("gen_ai.server.time_per_output_token", "s", EACH),
    ("gen_ai.client.operation.duration", "s", CHUNKS),
    ("gen_ai.client.operation.time_to_first_chunk", "s", CHUNKS),
    ("gen_ai.client.operation.time_per_output_chunk", "s", CHUNKS),
    ("gen_ai.client.token.usage", "{token}", TOKENS),
    ("gen_ai.client.inference.usage.input_tokens", "{token}", &[]),
    ("gen_ai.client.inference.usage.output_tokens", "{token}", &[]),
    ("gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", &[]),
    ("gen_ai.client.inference.usage.cache_write.input_tokens", "{token}", &[]),
    ("gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", &[]),
];

/// The conventions' attributes that we may tell, on metrics and on spans.
const ATTRIBUTES: [&str; 19] = [
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.request.max_tokens",
    "gen_ai.request.temperature",
    "gen_ai.request.choice.count",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.token.type",
    "gen_ai.token.modality",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "error.type",
];

#[tokio::test]
async fn every_name_unit_and_bucket_is_the_conventions_own() {
    let simulator = Simulator::start(&["--ttft-ms", "5", "--gap-ms", "1"]);
    let collector = Collector::grpc().await;
    let url = collector.url();
    let outrigger = Outrigger::before(&simulator, &[tells(&url, "grpc"), UNBROKEN.to_vec()].concat()).await;
    let mut streamed = stream(json!({}));
    streamed["stream_options"] = json!({"include_usage": true});
    post(outrigger.address, CHAT, &[], streamed.to_string()).await;
    post(outrigger.address, CHAT, &[], chat(json!({})).to_string()).await;
    post(outrigger.address, CHAT, &[], chat(json!({"status": 500})).to_string()).await;
    post(outrigger.address, "/v1/embeddings", &[], r#"{"model":"sim","input":"a"}"#).await;
    let spans = collector.told.until_spans(|spans| spans.iter().any(|span| span.name == "embeddings sim")).await;
    for name in ["gen_ai.client.inference.usage.input_tokens", "gen_ai.server.time_per_output_token"] {
        collector.told.until_metric(name).await;
    }
    let metrics = collector.told.metrics();
    let told: Vec<_> = metrics.iter().filter(|metric| metric.name.starts_with("gen_ai.")).collect();
    for metric in &told {
        let known = METRICS.iter().find(|(name, ..)| *name == metric.name);
        let (_, unit, buckets) = known.unwrap_or_else(|| panic!("{} is not of the conventions", metric.name));
        assert_eq!(metric.unit, *unit, "{}", metric.name);
        let attributes: Vec<_> = match metric.data.as_ref().expect("data") {
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    assert_eq!(point.explicit_bounds, *buckets, "{}", metric.name);
                }
                histogram.data_points.iter().map(|point| &point.attributes).collect()
            }
            Data::Sum(sum) => {
                assert!(buckets.is_empty() && sum.is_monotonic, "{}", metric.name);
                sum.data_points.iter().map(|point| &point.attributes).collect()
            }
            other => panic!("{}: {other:?}", metric.name),
        };
        for attributes in attributes {
            for needed in ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"] {
                assert!(value(attributes, needed).is_some(), "{} without {needed}", metric.name);
            }
            for attribute in attributes {
                assert!(ATTRIBUTES.contains(&attribute.key.as_str()), "{}: {}", metric.name, attribute.key);
            }
        }
    }
    for (name, ..) in METRICS.iter().filter(|(name, ..)| !name.contains(".cache_") && !name.contains("reasoning")) {
        assert!(told.iter().any(|metric| metric.name == *name), "{name} is not told");
    }
    for attribute in spans.iter().flat_map(|span| &span.attributes).filter(|told| told.key.starts_with("gen_ai.")) {
        assert!(ATTRIBUTES.contains(&attribute.key.as_str()), "{}", attribute.key);
    }
}
