//! A real redis-server of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Process, free_port};

pub struct Redis {
    process: Process,
    pub address: SocketAddr,
    folder: PathBuf,
}

impl Redis {
    pub async fn start() -> Self {
        Redis::at(free_port()).await
    }

    /// On a port that another may have had before.
    pub async fn at(address: SocketAddr) -> Self {
        Redis::with(address, &[], &[]).await
    }

    /// With more arguments, and more variables.
    pub async fn with(address: SocketAddr, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder =
            std::env::temp_dir().join(format!("outrigger-e2e-{}-redis-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let process = spawn(address, &folder, arguments, environment);
        let redis = Redis { process, address, folder };
        redis.until("+PONG").await;
        redis
    }

    /// In its place, with its files, but not with what it only had in memory. It may not answer yet.
    pub fn start_again(&mut self, arguments: &[&str]) {
        self.process = spawn(self.address, &self.folder, arguments, &[]);
    }

    /// Kills it.
    pub async fn stop(&mut self) {
        self.signal(9);
        self.process.ended(Duration::from_secs(10)).await;
    }

    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Waits until it answers a PING so.
    pub async fn until(&self, answer: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.say("PING").await.is_some_and(|said| said.starts_with(answer)) {
            assert!(Instant::now() < until, "redis-server at {} never said {answer}", self.address);
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// An inline command and its answer.
    pub async fn say(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut buffer = [0; 8192];
        let count = timeout(Duration::from_secs(2), stream.read(&mut buffer)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
    }

    /// An inline command that must be carried out; its answer.
    pub async fn tell(&self, command: &str) -> String {
        let said = self.say(command).await.unwrap_or_default();
        assert!(!said.is_empty() && !said.starts_with('-'), "{command}: {said:?}");
        said
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A stopped process is killed all the same.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(address: SocketAddr, folder: &PathBuf, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--loglevel", "warning", "--dir"])
        .arg(folder)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is needed: `scripts/setup test` installs it");
    Process::of(child)
}
