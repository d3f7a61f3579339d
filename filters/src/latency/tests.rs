use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use super::*;
use crate::testing::{Script, Scripted, Step, ask};
use crate::{Broken, Chain};

struct Measured {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
    chain: Chain,
}

fn measured(script: Script) -> Measured {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let meter = provider.meter("test");
    let chain = Chain::new(vec![Arc::new(Latency::new(&meter))], Arc::new(Scripted::new([script])), &meter);
    Measured { provider, exporter, chain }
}

impl Measured {
    /// Count, sum in milliseconds and `error.type` of each series of a histogram.
    fn series(&self, name: &str) -> Vec<(u64, u64, Option<String>)> {
        self.provider.force_flush().unwrap();
        let exports = self.exporter.get_finished_metrics().unwrap();
        let last = exports.last().unwrap();
        let metric = last.scope_metrics().flat_map(|scope| scope.metrics()).find(|metric| metric.name() == name);
        let Some(AggregatedMetrics::F64(MetricData::Histogram(histogram))) = metric.map(|metric| metric.data()) else {
            return Vec::new();
        };
        histogram
            .data_points()
            // A bound series is there from the start.
            .filter(|point| point.count() > 0)
            .map(|point| {
                let error = point.attributes().find(|label| label.key.as_str() == "error.type");
                (point.count(), (point.sum() * 1e3).round() as u64, error.map(|label| label.value.to_string()))
            })
            .collect()
    }
}

const DURATION: &str = "gen_ai.client.operation.duration";

async fn drain(reply: Reply) {
    if let Body::Events(mut events) = reply.body {
        while events.next().await.is_some() {}
    }
}

fn tokens() -> Vec<Step> {
    vec![
        Step::Wait(Duration::from_millis(100)),
        Step::Data("one"),
        Step::Wait(Duration::from_millis(20)),
        Step::Data("two"),
        Step::Wait(Duration::from_millis(30)),
        Step::Data("three"),
    ]
}

#[tokio::test(start_paused = true)]
async fn first_chunk_gaps_and_whole_are_timed() {
    let measured = measured(Script::Stream(tokens()));
    drain(measured.chain.run(Arc::new(ask(r#"{"model":"m"}"#))).await.unwrap()).await;
    assert_eq!(measured.series("gen_ai.client.operation.time_to_first_chunk"), [(1, 100, None)]);
    assert_eq!(measured.series("gen_ai.client.operation.time_per_output_chunk"), [(2, 50, None)]);
    assert_eq!(measured.series(DURATION), [(1, 150, None)]);
}

#[tokio::test(start_paused = true)]
async fn each_end_has_its_word() {
    let mut broken = tokens();
    broken.push(Step::Break(Broken::BackendCut));
    for (script, error) in [
        (Script::Stream(broken), "backend_cut"),
        (Script::Refuse(crate::Reason::Unreachable), "backend_unreachable"),
        (Script::Whole(StatusCode::TOO_MANY_REQUESTS, "{}"), "429"),
    ] {
        let measured = measured(script);
        if let Ok(reply) = measured.chain.run(Arc::new(ask(r#"{"model":"m"}"#))).await {
            drain(reply).await;
        }
        let series = measured.series(DURATION);
        assert_eq!(series.len(), 1);
        assert_eq!((series[0].0, series[0].2.as_deref()), (1, Some(error)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_let_go_is_counted_as_abandoned_once() {
    let measured = measured(Script::Stream(tokens()));
    let reply = measured.chain.run(Arc::new(ask(r#"{"model":"m"}"#))).await.unwrap();
    let Body::Events(mut events) = reply.body else { panic!("a stream") };
    events.next().await;
    drop(events);
    assert_eq!(measured.series(DURATION), [(1, 100, Some("abandoned".to_owned()))]);

    let late = super::tests::measured(Script::late(Duration::from_secs(9), "{}"));
    let waited = tokio::time::timeout(Duration::from_secs(1), late.chain.run(Arc::new(ask(r#"{"model":"m"}"#)))).await;
    assert!(waited.is_err());
    assert_eq!(late.series(DURATION), [(1, 1_000, Some("abandoned".to_owned()))]);
}
