//! The parts under test as processes, and clients that see every byte.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// A process that ends with the test.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn of(child: Child) -> Self {
        Process { child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by number: 15 is SIGTERM.
    pub fn signal(&self, signal: i32) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "the process is there to be signalled");
    }

    /// The exit code, if it ends in time.
    pub async fn ended(&mut self, within: Duration) -> Option<i32> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Simulator {
    process: Process,
    pub address: SocketAddr,
}

/// A binary of the build under test, or of the folder that `OUTRIGGER_BIN` names.
fn binary(name: &str) -> PathBuf {
    let path = match std::env::var_os("OUTRIGGER_BIN") {
        Some(folder) => Path::new(&folder).join(name),
        None => Path::new(env!("CARGO_BIN_EXE_outrigger")).with_file_name(name),
    };
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` (make test does)", path.display());
    path
}

impl Simulator {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(binary("outrigger-sim"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("the simulator said {line:?}"));
        Simulator { process: Process { child }, address }
    }

    /// Stops the whole process until it is told to go on: what is asked meanwhile waits for it, however late it comes.
    pub fn hold(&self) {
        self.process.signal(19);
    }

    pub fn go_on(&self) {
        self.process.signal(18);
    }

    pub async fn stats(&self) -> Value {
        get(self.address, "/sim/stats").await.json()
    }

    /// Waits until a counter has a value, then gives all of them.
    pub async fn until(&self, counter: &str, value: u64) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let stats = self.stats().await;
            if stats[counter] == value {
                return stats;
            }
            assert!(Instant::now() < until, "{counter} never became {value}: {stats}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

pub struct Outrigger {
    pub process: Process,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    log: PathBuf,
}

/// A port from below the range that outgoing connections are given, so that nobody takes it meanwhile.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + u16::try_from(std::process::id() % 32).unwrap() * 512;
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], base + NEXT.fetch_add(1, Ordering::Relaxed) % 512));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Outrigger {
    /// In front of a simulator, with more settings by environment: `("SERVER__THREADS", "1")`.
    pub async fn before(simulator: &Simulator, settings: &[(&str, &str)]) -> Self {
        let url = format!("http://{}", simulator.address);
        Self::start(&[&[("BACKENDS__0__URL", url.as_str())], settings].concat()).await
    }

    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let outrigger = Self::spawn((free_port(), free_port()), &[], settings);
        outrigger.until_ready().await;
        outrigger
    }

    /// With its settings in a file.
    pub async fn by(file: &str) -> Self {
        let outrigger = Self::spawn((free_port(), free_port()), &["--config", file], &[]);
        outrigger.until_ready().await;
        outrigger
    }

    /// One more process, at these addresses: of clients and of the admin port.
    pub fn spawn((address, admin): (SocketAddr, SocketAddr), arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        static LOGS: AtomicU16 = AtomicU16::new(0);
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("outrigger-e2e-{}-{number}.log", std::process::id()));
        let mut command = Command::new(binary("outrigger"));
        command.args(arguments);
        command
            .env("OUTRIGGER__SERVER__LISTEN", address.to_string())
            .env("OUTRIGGER__SERVER__ADMIN", admin.to_string())
            // Most tests ask the same question again and mean to reach the backend.
            .env("OUTRIGGER__SEMANTIC_CACHE__MODE", "off")
            // And to count what reaches it.
            .env("OUTRIGGER__BREAKER__ENGINE_METRICS", "off")
            .stderr(std::fs::File::create(&log).unwrap());
        for (key, value) in settings {
            command.env(format!("OUTRIGGER__{key}"), value);
        }
        Outrigger { process: Process { child: command.spawn().unwrap() }, address, admin, log }
    }

    /// Waits until it has said so.
    pub async fn until_logged(&self, words: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.log().contains(words) {
            assert!(Instant::now() < until, "it never said {words:?}: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_ready(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if TcpStream::connect(self.admin).await.is_ok() && get(self.admin, "/readyz").await.status == StatusCode::OK
            {
                return;
            }
            assert!(Instant::now() < until, "it never became ready: {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The sum of all series that begin so; none where there is none.
    pub async fn metric(&self, beginning: &str) -> Option<f64> {
        let text = get(self.admin, "/metrics").await.text();
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        lines.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|sum, value| Some(sum? + value?))?
    }

    /// Waits until a metric has a value.
    pub async fn until_metric(&self, beginning: &str, value: f64) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.metric(beginning).await;
            if now == Some(value) {
                return;
            }
            assert!(Instant::now() < until, "{beginning} never became {value}: {now:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many requests, of all since the start, are in a flight or apart from any.
    pub async fn until_boarded(&self, count: u32) {
        self.until_metric("outrigger_dedup_requests_total{", f64::from(count)).await;
    }
}

impl Drop for Outrigger {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of the proxy:\n{}", self.log());
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// For tests of single faults: nothing is tried again, and no number of faults leaves the backend alone.
pub const UNBROKEN: [(&str, &str); 2] = [("BREAKER__RETRIES", "0"), ("BREAKER__CONSECUTIVE_FAILURES", "1000000")];

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the body ended as its framing says it should.
    pub complete: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// One connection of a client; hyper frames and unframes.
pub enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub async fn http1(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client::Http1(sender)
    }

    pub async fn http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::http2_over(TokioIo::new(stream)).await
    }

    pub async fn http2_over<T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static>(io: T) -> Self {
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Client::Http2(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<hyper::Response<Incoming>> {
        match self {
            Client::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Client::Http2(sender) => sender.send_request(request).await,
        }
    }

    pub async fn ask(&mut self, address: SocketAddr, body: impl Into<Bytes>) -> Answer {
        let response = self.send(request(address, CHAT, &[], body)).await.unwrap();
        read(response).await
    }
}

pub const CHAT: &str = "/v1/chat/completions";

pub fn request(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let body: Bytes = body.into();
    let uri = format!("http://{address}{path}");
    let mut request = Request::post(uri).header("host", address.to_string()).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

pub async fn read(response: hyper::Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut complete) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    Answer { status: head.status, headers: head.headers, body: bytes.into(), complete }
}

pub async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut client = Client::http1(address).await;
    read(client.send(request(address, path, headers, body)).await.unwrap()).await
}

pub async fn ask(address: SocketAddr, body: Value) -> Answer {
    post(address, CHAT, &[], body.to_string()).await
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut client = Client::http1(address).await;
    let request = Request::get(path).header("host", address.to_string()).body(Full::new(Bytes::new())).unwrap();
    read(client.send(request).await.unwrap()).await
}

/// Asks while the simulator is held, until all of so many have come: none is late for a flight, on any machine.
pub async fn held<T>(simulator: &Simulator, outrigger: &Outrigger, boarded: u32, asked: impl Future<Output = T>) -> T {
    simulator.hold();
    let (answered, ()) = tokio::join!(asked, async {
        outrigger.until_boarded(boarded).await;
        simulator.go_on();
    });
    answered
}

/// Sends bytes as they are and reads until the other side closes or, once it has said something, falls silent.
pub async fn raw(address: SocketAddr, bytes: &[u8], silence: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may close while we still write.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    // A busy machine takes its time until the first word.
    let patience = |said: &Vec<u8>| if said.is_empty() { silence.max(Duration::from_secs(10)) } else { silence };
    while let Ok(Ok(count)) = timeout(patience(&answer), stream.read(&mut buffer)).await {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    answer
}

/// A chat request with controls for the simulator.
pub fn chat(sim: Value) -> Value {
    serde_json::json!({ "model": "sim", "messages": [{ "role": "user", "content": "hello" }], "sim": sim })
}

/// The same, streamed.
pub fn stream(sim: Value) -> Value {
    let mut body = chat(sim);
    body["stream"] = true.into();
    body
}

/// Runs the command line tool and gives its exit code, standard output and standard error.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut child = Command::new(binary("outrigger"))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), out, err)
}
