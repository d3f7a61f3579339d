//! The admin port's connections: so many at a time, and none that is held open for nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use super::Admin;
use crate::upgrade::Turn;

/// Connections at a time; more wait to be taken.
const CONNECTIONS: usize = 256;
/// How long a client may take for a request's head, and a connection may lie idle before one: longer than a scrape's
/// usual interval.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// How long a client may leave what it has asked for unread.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// The admin port as a service that outlives the clients' port: Pingora closes its own listeners as
/// soon as the process is told to stop, and then nobody could ask how far the draining is.
pub struct Service {
    pub admin: Arc<Admin>,
    /// Bound at the start, so that nobody takes the port before it is served; does not block.
    pub listener: std::net::TcpListener,
    pub turn: Turn,
}

#[async_trait]
impl BackgroundService for Service {
    /// Never told to stop: it ends with the process, or when another has taken over.
    async fn start(&self, _shutdown: ShutdownWatch) {
        self.turn.begun().await;
        let taken = self.listener.try_clone().and_then(TcpListener::from_std);
        let listener = match taken {
            Ok(listener) => listener,
            Err(problem) => return tracing::error!(%problem, "the admin port is not served"),
        };
        let router = super::router(self.admin.clone());
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(place) = room.clone().acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.turn.passed() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let turn = self.turn.clone();
            let router = router.clone();
            let connection = async move { serve(bounded(stream), router, turn.passed()).await };
            #[expect(clippy::disallowed_methods, reason = "a connection of this service, which ends with it")]
            tokio::spawn(async move {
                connection.await;
                drop(place);
            });
        }
    }
}

fn bounded(stream: TcpStream) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    // An event shall not wait for the next one.
    if let Err(problem) = stream.set_nodelay(true) {
        tracing::debug!(%problem, "a connection to the admin port is slower than it could be");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    Box::pin(stream)
}

/// Until the client is gone, or what it asks is answered and it is to ask somebody else.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    passed: impl Future<Output = ()>,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = passed => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(problem) = served {
        tracing::debug!(%problem, "a connection to the admin port has ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_or_never_ends_its_head_is_closed() {
        for said in ["", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
            let (mut client, server) = duplex(1024);
            let begun = Instant::now();
            let talk = async {
                client.write_all(said.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                let _ = client.read_to_end(&mut answer).await;
            };
            tokio::join!(serve(server, Router::new(), std::future::pending()), talk);
            let took = begun.elapsed();
            assert!(took >= HEAD_TIME && took < HEAD_TIME * 2, "after {said:?} it was closed in {took:?}");
        }
    }
}
