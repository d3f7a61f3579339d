//! A redis-server of the test's own, on a free port, gone with the test.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A folder of its own for each, removed with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("outrigger-redis-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder to work in");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Server {
    pub port: u16,
    child: Child,
    pub arguments: Vec<String>,
    folder: Folder,
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments).await
    }

    pub async fn start_on(port: u16, arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(port, &arguments, &folder);
        let mut server = Server { port, child, arguments, folder };
        server.wait().await;
        server
    }

    async fn wait(&mut self) {
        // With TLS alone there is no plain port to try; the port of the arguments is tried then.
        let port = match self.arguments.iter().position(|argument| argument == "--tls-port") {
            Some(at) => self.arguments[at + 1].parse().expect("a port"),
            None => self.port,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("redis-server ended with {status}: see its output above");
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "redis-server did not begin to listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).expect("an address").get_connection().expect("a connection")
    }

    /// One command, by its words.
    pub fn say(&self, words: &str) -> redis::Value {
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().expect("a command"));
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connection()).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status();
        assert!(status.expect("sh").success(), "signal {signal} could not be sent");
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same port, with the same data.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.arguments, &self.folder);
        self.wait().await;
    }
}

fn spawn(port: u16, arguments: &[String], folder: &Folder) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--daemonize", "no", "--loglevel", "warning", "--dir"])
        .arg(&folder.0)
        .args(arguments)
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .expect("redis-server is not installed; `scripts/setup test` installs it")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
