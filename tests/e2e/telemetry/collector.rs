//! A real OTLP receiver, over gRPC and HTTP, that keeps what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tonic::transport::server::TcpIncoming;

/// What it has been told so far.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
}

pub struct Collector {
    pub address: SocketAddr,
    pub told: Told,
}

impl Collector {
    pub async fn grpc() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Told::default();
        let serve = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(told.clone()))
            .add_service(MetricsServiceServer::new(told.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serve);
        Collector { address, told }
    }

    pub async fn http() -> Self {
        Self::http_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn http_on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let told = Told::default();
        let kept = told.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let kept = kept.clone();
                let answer = service_fn(move |request| take(kept.clone(), request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Collector { address, told }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn take(told: Told, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await?.to_bytes();
    let mut kept = told.0.lock().unwrap();
    let status = match path.as_str() {
        "/v1/traces" => {
            kept.traces.push(ExportTraceServiceRequest::decode(body).unwrap());
            StatusCode::OK
        }
        "/v1/metrics" => {
            kept.metrics.push(ExportMetricsServiceRequest::decode(body).unwrap());
            StatusCode::OK
        }
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

#[tonic::async_trait]
impl TraceService for Told {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().traces.push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Told {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().metrics.push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Told {
    pub fn spans(&self) -> Vec<Span> {
        let kept = self.0.lock().unwrap();
        let scopes =
            kept.traces.iter().flat_map(|told| &told.resource_spans).flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Each metric as it was told last.
    pub fn metrics(&self) -> Vec<Metric> {
        let kept = self.0.lock().unwrap();
        let Some(last) = kept.metrics.last() else { return Vec::new() };
        let scopes = last.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| scope.metrics.clone()).collect()
    }

    pub fn resource(&self) -> Vec<KeyValue> {
        let kept = self.0.lock().unwrap();
        let resource = kept.traces.iter().flat_map(|told| &told.resource_spans).find_map(|told| told.resource.clone());
        resource.map(|resource| resource.attributes).unwrap_or_default()
    }

    /// All of it, as it would be printed.
    pub fn everything(&self) -> String {
        let kept = self.0.lock().unwrap();
        format!("{:?} {:?}", kept.traces, kept.metrics)
    }

    pub async fn until_spans(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let spans = self.spans();
            if enough(&spans) {
                return spans;
            }
            assert!(Instant::now() < until, "only {} spans were told of: {spans:#?}", spans.len());
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_metric(&self, name: &str) -> Vec<Metric> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let metrics = self.metrics();
            if metrics.iter().any(|metric| metric.name == name) {
                return metrics;
            }
            assert!(Instant::now() < until, "{name} was never told of");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// An attribute's value, as text.
pub fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => value.to_string(),
        other => format!("{other:?}"),
    })
}
