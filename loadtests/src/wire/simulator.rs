//! The simulator's side door: its counts, its log, and its clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::connection::Connection;

pub struct Simulator {
    connection: Connection,
    answer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counts {
    pub started: u64,
    pub finished: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub active: u64,
}

#[derive(Debug, Deserialize)]
pub struct Entry {
    pub generation: u64,
    pub ended_us: Option<u64>,
}

/// The simulator's clock as seen from here.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    here: Instant,
    there_us: f64,
    /// Half the shortest round trip: the offset is no more wrong than this.
    pub doubt_us: f64,
}

impl Offset {
    pub fn microseconds(&self, moment: Instant) -> f64 {
        let (later, earlier) =
            (moment.saturating_duration_since(self.here), self.here.saturating_duration_since(moment));
        self.there_us + later.as_secs_f64() * 1e6 - earlier.as_secs_f64() * 1e6
    }
}

impl Simulator {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Simulator> {
        Ok(Simulator { connection: Connection::open(address).await.context("no simulator")?, answer: Vec::new() })
    }

    pub async fn counts(&mut self) -> anyhow::Result<Counts> {
        self.get("/sim/stats").await
    }

    pub async fn log(&mut self) -> anyhow::Result<Vec<Entry>> {
        self.get("/sim/log").await
    }

    /// Sets what later requests do that say nothing else; `{}` takes it back.
    pub async fn configure(&mut self, controls: &Value) -> anyhow::Result<()> {
        let body = controls.to_string();
        let length = body.len();
        let request = format!("POST /sim/config HTTP/1.1\r\nhost: simulator\r\ncontent-length: {length}\r\n\r\n{body}");
        let (status, _) = self.connection.exchange(request.as_bytes(), &mut self.answer).await?;
        anyhow::ensure!(status == 200, "the simulator answers {status}: {}", String::from_utf8_lossy(&self.answer));
        Ok(())
    }

    /// By the quickest of many round trips.
    pub async fn offset(&mut self) -> anyhow::Result<Offset> {
        let mut best: Option<Offset> = None;
        for _ in 0..100 {
            let start = Instant::now();
            let time: BTreeMap<String, u64> = self.get("/sim/time").await?;
            let half = start.elapsed() / 2;
            let there_us = *time.get("now_us").context("the simulator tells no time")? as f64;
            let doubt_us = half.as_secs_f64() * 1e6;
            if best.is_none_or(|best| doubt_us < best.doubt_us) {
                best = Some(Offset { here: start + half, there_us, doubt_us });
            }
        }
        best.context("no round trip")
    }

    /// The counts once nothing runs any more, or after this long.
    pub async fn settled(&mut self, patience: Duration) -> anyhow::Result<Counts> {
        let start = Instant::now();
        loop {
            let counts = self.counts().await?;
            if counts.active == 0 || start.elapsed() > patience {
                return Ok(counts);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: simulator\r\n\r\n");
        let (status, _) = self.connection.exchange(request.as_bytes(), &mut self.answer).await?;
        anyhow::ensure!(status == 200, "the simulator answers {path} with {status}");
        Ok(serde_json::from_slice(&self.answer)?)
    }
}
