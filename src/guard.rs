//! A client's connection with a deadline for the head of each request.
//!
//! Pingora times each read and not the whole head, so a client that sends a byte now and then could
//! hold a connection for ever. Here the time runs from the opening of the connection, later from a
//! request's first byte, until [`Guarded::head_is_read`]; then the connection is closed.
//!
//! It also tells HTTP/2 from HTTP/1 by the first byte that differs: Pingora would wait for all 24 of
//! the preface, which a short HTTP/1 request does not have.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::serving::Current;

/// Puts a [`Guarded`] around every connection of an application.
pub struct Guard<A> {
    pub app: Arc<A>,
    /// Says how long a head may take.
    pub current: Arc<Current>,
    pub connections: Connections,
}

/// How many there are.
#[derive(Clone, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Connections {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn enter(&self) -> Open {
        self.0.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }
}

/// Held while a connection is open.
struct Open(Connections);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<A> Clone for Guard<A> {
    fn clone(&self) -> Self {
        Guard { app: self.app.clone(), current: self.current.clone(), connections: self.connections.clone() }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _open = self.connections.enter();
        let head_timeout = self.current.load().config.server.head_timeout_ms.duration();
        self.app.process_new(Box::new(Guarded::new(stream, head_timeout)), shutdown).await
    }

    /// Nothing. Pingora would cut connections that lie idle, and a request that is on its way on one of them would be lost.
    /// They end with the answer to their next request, which says so, with their usual time, or with the process.
    async fn cleanup(&self) {}
}

/// Where a connection stands between two requests.
mod phase {
    /// The time for a head runs.
    pub const HEAD: u8 = 0;
    /// A head has been read; bodies have a deadline of their own.
    pub const BODY: u8 = 1;
    /// Between two requests; the keep-alive timeout is Pingora's.
    pub const IDLE: u8 = 2;
}

#[derive(Debug)]
pub struct Guarded {
    inner: Stream,
    peeked: Vec<u8>,
    phase: AtomicU8,
    head_timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn new(inner: Stream, head_timeout: Duration) -> Self {
        let h2 = inner.selected_alpn_proto() == Some(ALPN::H2);
        let phase = AtomicU8::new(if h2 { phase::BODY } else { phase::HEAD });
        Guarded { inner, peeked: Vec::new(), phase, head_timeout, deadline: None }
    }

    /// Stops the time: the head of a request is there.
    pub fn head_is_read(&self) {
        self.phase.store(phase::BODY, Ordering::Relaxed);
    }

    /// The request has been answered: the next byte begins another head.
    pub fn request_is_over(&self) {
        self.phase.store(phase::IDLE, Ordering::Relaxed);
    }

    fn is_too_late(&mut self, context: &mut Context<'_>) -> bool {
        if self.phase.load(Ordering::Relaxed) != phase::HEAD {
            self.deadline = None;
            return false;
        }
        let timeout = self.head_timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
        deadline.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.peeked.is_empty() {
            let count = this.peeked.len().min(buffer.remaining());
            buffer.put_slice(&this.peeked[..count]);
            this.peeked.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut this.inner).poll_read(context, buffer);
        match polled {
            Poll::Pending if this.is_too_late(context) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(Ok(())) if this.phase.load(Ordering::Relaxed) == phase::IDLE => {
                this.phase.store(phase::HEAD, Ordering::Relaxed);
                this.deadline = None;
                polled
            }
            _ => polled,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Peek for Guarded {
    /// Gives `true` with the first bytes, filled up with zeros once they cannot be what is waited for.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut seen = 0;
        while seen < buffer.len() && PREFACE.starts_with(&buffer[..seen]) {
            match self.read(&mut buffer[seen..]).await? {
                0 => break,
                count => seen += count,
            }
        }
        buffer[seen..].fill(0);
        self.peeked = buffer[..seen].to_vec();
        if buffer == PREFACE {
            // HTTP/2 has its own idle limit, over all of its streams.
            self.head_is_read();
        }
        Ok(true)
    }
}

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn pair() -> (tokio::io::DuplexStream, Guarded) {
        let (client, server) = tokio::io::duplex(1024);
        (client, Guarded::new(Box::new(server), Duration::from_secs(10)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_sent_in_drops_is_cut_at_its_deadline() {
        let (mut client, mut guarded) = pair();
        let dripping = async {
            loop {
                if client.write_all(b"x").await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let begun = tokio::time::Instant::now();
        let reading = async {
            let mut byte = [0];
            loop {
                if let Err(error) = guarded.read_exact(&mut byte).await {
                    return error.kind();
                }
            }
        };
        tokio::select! {
            kind = reading => assert_eq!(kind, io::ErrorKind::TimedOut),
            () = dripping => panic!("the client may drip for ever"),
        }
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_and_an_idle_connection_are_not_under_the_heads_deadline() {
        let (mut client, mut guarded) = pair();
        let mut byte = [0];
        for over in [false, true] {
            client.write_all(b"x").await.unwrap();
            guarded.read_exact(&mut byte).await.unwrap();
            if over {
                guarded.request_is_over()
            } else {
                guarded.head_is_read()
            }
            let waited = tokio::time::timeout(Duration::from_secs(100), guarded.read(&mut byte)).await;
            assert!(waited.is_err(), "it waits for ever here");
        }
        client.write_all(b"x").await.unwrap();
        guarded.read_exact(&mut byte).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(100), guarded.read(&mut byte)).await;
        assert!(waited.is_ok_and(|read| read.is_err()), "the next head has its deadline again");
    }

    #[tokio::test]
    async fn a_peek_ends_at_the_first_byte_that_is_no_preface_and_loses_nothing() {
        for (sent, whole) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], false), (PREFACE, true)] {
            let (mut client, mut guarded) = pair();
            client.write_all(sent).await.unwrap();
            let mut buffer = [0; 24];
            assert!(guarded.try_peek(&mut buffer).await.unwrap());
            assert_eq!(buffer == PREFACE, whole);
            drop(client);
            let mut all = Vec::new();
            guarded.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, sent);
        }
    }
}
