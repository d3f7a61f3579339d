//! A connection whose request never comes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

const HALF: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: load\r\nx-half";

#[derive(Clone, Copy)]
pub enum Kind {
    /// Never sends a byte.
    Silent,
    /// Sends half a head, then nothing.
    Stalled,
    /// Sends half a head, then a byte a second.
    Dripping,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Silent, Kind::Stalled, Kind::Dripping];
}

/// How long the other side bore it. An error is one of connecting.
pub async fn hold(address: SocketAddr, kind: Kind) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address).await?;
    let start = Instant::now();
    if !matches!(kind, Kind::Silent) && stream.write_all(HALF).await.is_err() {
        return Ok(start.elapsed());
    }
    let (mut buffer, mut drip) = ([0; 1024], interval(Duration::from_secs(1)));
    drip.tick().await;
    loop {
        tokio::select! {
            // Whatever is answered first, the end or a reset closes it.
            read = stream.read(&mut buffer) => if matches!(read, Ok(0) | Err(_)) {
                return Ok(start.elapsed());
            },
            _ = drip.tick(), if matches!(kind, Kind::Dripping) => if stream.write_all(b"x").await.is_err() {
                return Ok(start.elapsed());
            },
        }
    }
}
