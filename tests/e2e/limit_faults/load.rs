//! Load on three sidecars, and an exact log of what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::support::{CHAT, request};

const KEY: (&str, &str) = ("authorization", "Bearer sk-1");
/// Connections to each sidecar, which take turns.
const CONNECTIONS: u32 = 8;

/// One request: when it was sent, when the head of its answer was there, and what that said.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub sent: Instant,
    pub head: Instant,
    /// 0 where there was no answer.
    pub status: u16,
    pub degraded: bool,
}

pub struct Load {
    ended: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Asked>>>,
}

impl Load {
    /// So many requests each second, on all together, of one tenant and each with a question of its own.
    pub fn on(sidecars: &[SocketAddr], per_second: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let count = sidecars.len() as u32 * CONNECTIONS;
        let (begun, turn) = (Instant::now() + Duration::from_millis(20), Duration::from_secs(1) / per_second);
        let mut tasks = Vec::new();
        for connection in 0..CONNECTIONS {
            for (place, address) in sidecars.iter().enumerate() {
                let first = begun + turn * tasks.len() as u32;
                let number = u64::from(connection) * 10 + place as u64;
                tasks.push(tokio::spawn(ask(*address, number, first, turn * count, ended.clone())));
            }
        }
        Load { ended, tasks }
    }

    /// Ends it; all that was asked.
    pub async fn end(self) -> Vec<Asked> {
        self.ended.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all.sort_by_key(|asked: &Asked| asked.sent);
        all
    }
}

async fn ask(address: SocketAddr, number: u64, first: Instant, every: Duration, ended: Arc<AtomicBool>) -> Vec<Asked> {
    let (mut log, mut next, mut connection) = (Vec::new(), first, None);
    while !ended.load(Ordering::Relaxed) {
        sleep_until(next).await;
        next += every;
        let question = format!("{number}: {}", log.len());
        let body = json!({ "model": "sim", "max_tokens": 1, "messages": [{ "role": "user", "content": question }] });
        let sent = Instant::now();
        let (status, degraded, head) =
            one(address, &mut connection, body.to_string()).await.unwrap_or_else(|| (0, false, Instant::now()));
        if status == 0 {
            connection = None;
        }
        log.push(Asked { sent, head, status, degraded });
    }
    log
}

type Connection = Option<SendRequest<Full<bytes::Bytes>>>;

/// Status, whether decided without Redis, and when the head was there. None if there was no whole answer.
async fn one(address: SocketAddr, connection: &mut Connection, body: String) -> Option<(u16, bool, Instant)> {
    if connection.is_none() {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let sender = connection.as_mut()?;
    sender.ready().await.ok()?;
    let answer = sender.send_request(request(address, CHAT, &[KEY], body)).await.ok()?;
    let head = Instant::now();
    let (status, degraded) = (answer.status().as_u16(), answer.headers().contains_key("x-outrigger-degraded"));
    answer.into_body().collect().await.ok()?;
    Some((status, degraded, head))
}

/// The most requests that were surely admitted within one window: asked for after its beginning, answered before its
/// end. Of windows that begin with a request sent between two times.
pub fn worst_window(log: &[Asked], window: Duration, from: Instant, to: Instant) -> usize {
    let admitted: Vec<_> = log.iter().filter(|asked| asked.status == 200).collect();
    let within = |first: &Asked| {
        admitted.iter().filter(|asked| asked.sent >= first.sent && asked.head < first.sent + window).count()
    };
    admitted.iter().filter(|asked| asked.sent >= from && asked.sent < to).map(|first| within(first)).max().unwrap_or(0)
}

/// How long 99 of 100 requests waited at most for their answer's head, of those sent between two times.
pub fn p99(log: &[Asked], from: Instant, to: Instant) -> Duration {
    let sent = log.iter().filter(|asked| asked.sent >= from && asked.sent < to);
    let mut waited: Vec<_> = sent.map(|asked| asked.head - asked.sent).collect();
    waited.sort();
    waited.get((waited.len() * 99 / 100).min(waited.len().saturating_sub(1))).copied().unwrap_or_default()
}
