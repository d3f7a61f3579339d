//! The listener: every connection speaks HTTP/1.1 or HTTP/2, whichever it begins with.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::options::Options;
use super::service;
use super::simulator::Simulator;
use super::tls;

/// Connections waiting to be accepted: a burst of thousands must not be told apart from a full server.
const BACKLOG: u32 = 4096;

/// Streams of one HTTP/2 connection: a proxy may send everything over one.
const MOST_STREAMS: u32 = 10_000;

/// Between tries to accept when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

pub struct Server {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    http: Arc<Builder<TokioExecutor>>,
    simulator: Arc<Simulator>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] tls::TlsError),
}

impl Server {
    pub fn bind(options: &Options) -> Result<Server, StartError> {
        let socket = if options.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(options.listen)?;
        let acceptor = match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
            _ => None,
        };
        Ok(Server {
            listener: socket.listen(BACKLOG)?,
            acceptor,
            http: Arc::new(http()),
            simulator: Arc::new(Simulator::new(options)),
        })
    }

    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.acceptor.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.listener.local_addr()?))
    }

    /// Serves until dropped; dropping it drops its connections.
    pub async fn serve(self) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => { connections.spawn(self.connection(stream)); }
                    Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        let open = self.simulator.ledger.connection();
        let (http, simulator, acceptor) = (Arc::clone(&self.http), Arc::clone(&self.simulator), self.acceptor.clone());
        async move {
            let _open = open;
            // Without it a token waits for the acknowledgement of the one before.
            if stream.set_nodelay(true).is_err() {
                return;
            }
            match acceptor {
                None => speak(&http, simulator, stream).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        speak(&http, simulator, stream).await;
                    }
                }
            }
        }
    }
}

async fn speak<S>(http: &Builder<TokioExecutor>, simulator: Arc<Simulator>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| service::answer(Arc::clone(&simulator), request));
    // An error here is a client that left or a cut that was asked for; the ledger has both.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Idle connections may stay for as long as their client likes: the proxy's timeouts are under test.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MOST_STREAMS);
    builder
}
