//! A collector that takes all that it is told by OTLP over HTTP and keeps nothing: for `scripts/bench telemetry`.
//! `collector ADDRESS`

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4318".to_owned());
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let take = service_fn(|request: Request<Incoming>| async {
            // Read to its end, as one that keeps it would.
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        #[expect(clippy::disallowed_methods, reason = "a connection ends with the process")]
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
    }
}
