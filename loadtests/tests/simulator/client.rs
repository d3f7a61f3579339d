//! A simulator process that ends with its test, and a client that tells whole bodies from broken ones.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub struct Simulator {
    process: Child,
    pub url: String,
}

impl Simulator {
    pub fn start(arguments: &[&str]) -> Simulator {
        let mut process = Command::new(env!("CARGO_BIN_EXE_outrigger-sim"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url =
            line.trim_end().strip_prefix("outrigger-sim listening on ").expect("says where it listens").to_owned();
        Simulator { process, url }
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.process.wait().unwrap()
    }

    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        Connection::new(Sender::Http1(sender), connection)
    }

    /// HTTP/2 with prior knowledge.
    pub async fn connect_http2(&self) -> Connection {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        Connection::new(Sender::Http2(sender), connection)
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Result<Answer, Broken> {
        self.connect().await.ask(method, path, body).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, body.to_string()).await.expect("a whole answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await.expect("a whole answer")
    }

    /// A chat request with these `sim` controls.
    pub async fn chat(&self, stream: bool, sim: Value) -> Result<Answer, Broken> {
        self.ask("POST", "/v1/chat/completions", chat(stream, sim).to_string()).await
    }

    pub async fn stats(&self) -> Value {
        let stats = self.get("/sim/stats").await.json();
        let count = |name: &str| stats[name].as_u64().unwrap();
        let ends = count("finished") + count("cancelled") + count("failed") + count("active");
        assert_eq!(count("started"), ends, "the books balance: {stats}");
        stats
    }

    /// Waits until the counter has this value; how long that may take is for the test to judge.
    pub async fn until(&self, counter: &str, value: u64) {
        self.until_stats(&format!("{counter} {value}"), |stats| stats[counter] == value).await;
    }

    pub async fn until_stats(&self, what: &str, reached: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        while !reached(&self.stats().await) {
            assert!(start.elapsed() < Duration::from_secs(60), "it never came to {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn last_entry(&self) -> Value {
        self.get("/sim/log").await.json().as_array().unwrap().last().unwrap().clone()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn chat(stream: bool, sim: Value) -> Value {
    json!({"model": "sim", "stream": stream, "messages": [{"role": "user", "content": "hello"}], "sim": sim})
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// Dropped, it closes its socket at once.
pub struct Connection {
    sender: Sender,
    _task: JoinSet<hyper::Result<()>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What came before the connection or the stream was cut.
#[derive(Debug)]
pub struct Broken {
    pub head: Option<(u16, HeaderMap)>,
    pub body: Vec<u8>,
}

impl Connection {
    fn new(sender: Sender, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Connection {
        let mut task = JoinSet::new();
        task.spawn(connection);
        Connection { sender, _task: task }
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> hyper::Result<Response<Incoming>> {
        let builder = Request::builder().method(method).header("x-test", "yes");
        match &mut self.sender {
            Sender::Http1(sender) => {
                let request = builder.uri(path).header("host", "simulator").body(Full::new(body.into())).unwrap();
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let uri = format!("http://simulator{path}");
                sender.send_request(builder.uri(uri).body(Full::new(body.into())).unwrap()).await
            }
        }
    }

    pub async fn ask(&mut self, method: &str, path: &str, body: impl Into<Bytes>) -> Result<Answer, Broken> {
        let Ok(response) = self.send(method, path, body).await else {
            return Err(Broken { head: None, body: Vec::new() });
        };
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
                Err(_) => return Err(Broken { head: Some((head.status.as_u16(), head.headers)), body }),
            }
        }
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.into() })
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The events' names, empty where they have none, and their data but for `[DONE]`.
    pub fn events(&self) -> Vec<(String, Value)> {
        assert_eq!(self.header("content-type"), "text/event-stream; charset=utf-8", "a stream: {}", self.text());
        assert!(self.text().ends_with("\n\n"), "the last event ends: {}", self.text());
        let events = self.text().split_terminator("\n\n").filter(|event| *event != "data: [DONE]");
        events
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap_or(("event: ", event));
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                (name.strip_prefix("event: ").unwrap().to_owned(), data)
            })
            .collect()
    }
}
