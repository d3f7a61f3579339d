//! The listener: `GET /metrics` and nothing else.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Between tries to accept when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Scrapers at once; each is a connection that is kept.
const MOST_CONNECTIONS: usize = 16;

/// Until it is told to stop, by a word or by the end of the one who could say it.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, stopped: oneshot::Receiver<()>) {
    // It is non-blocking already; nothing else makes this fail.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    tokio::select! {
        () = accept(listener, registry) => {}
        _ = stopped => {}
    }
}

async fn accept(listener: tokio::net::TcpListener, registry: Arc<Registry>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => { connections.spawn(speak(stream, Arc::clone(&registry))); }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn speak(stream: TcpStream, registry: Arc<Registry>) {
    let service = service_fn(move |request| {
        let answer = answer(&registry, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    // A scraper that breaks off will come again.
    let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn answer(registry: &Registry, request: &Request<Incoming>) -> Response<String> {
    let mut response = Response::new(String::new());
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match encode(response.body_mut(), registry) {
            Ok(()) => {
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(OPEN_METRICS));
            }
            Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        },
        (_, "/metrics") => {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        }
        _ => {
            *response.status_mut() = StatusCode::NOT_FOUND;
            *response.body_mut() = "The metrics are at /metrics.\n".to_owned();
        }
    }
    response
}
