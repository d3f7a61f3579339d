//! A real redis-server of a test's own.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Process, free_port};

pub struct Redis {
    _process: Process,
    pub address: SocketAddr,
}

impl Redis {
    pub async fn start() -> Self {
        Redis::at(free_port()).await
    }

    /// On a port that another may have had before.
    pub async fn at(address: SocketAddr) -> Self {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed: `scripts/setup test` installs it");
        let redis = Redis { _process: Process::of(child), address };
        let until = Instant::now() + Duration::from_secs(30);
        while redis.say("PING").await.as_deref() != Some("+PONG\r\n") {
            assert!(Instant::now() < until, "redis-server did not start on {address}");
            sleep(Duration::from_millis(20)).await;
        }
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// An inline command and its answer.
    pub async fn say(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut buffer = [0; 4096];
        let count = timeout(Duration::from_secs(2), stream.read(&mut buffer)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
    }
}
