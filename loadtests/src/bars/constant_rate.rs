//! A request at each tick of the clock, whether or not the last is answered.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::wire::connection::Connection;
use crate::wire::pacer::Pacer;
use crate::wire::prompt::{Prompt, Shape};

/// One request of the schedule.
pub struct Sent {
    /// From the intended send time; None where no good answer came.
    pub latency: Option<Duration>,
    /// From the intended send time to the sending.
    pub lag: Duration,
}

/// Requests at a constant rate, over as many kept-alive connections as it takes.
pub struct ConstantRate {
    address: SocketAddr,
    prompt: Prompt,
    interval: Duration,
    pacer: Pacer,
    idle: Vec<Connection>,
}

impl ConstantRate {
    pub fn new(address: SocketAddr, shape: &Shape, rate: f64) -> anyhow::Result<ConstantRate> {
        let interval = Duration::from_secs_f64(1.0 / rate);
        Ok(ConstantRate { address, prompt: Prompt::new(shape), interval, pacer: Pacer::new()?, idle: Vec::new() })
    }

    /// Sends for this long, and waits for what was sent.
    pub async fn run(&mut self, duration: Duration) -> anyhow::Result<Vec<Sent>> {
        let (mut requests, mut sent) = (JoinSet::new(), Vec::new());
        let start = Instant::now() + self.interval;
        let mut due = start;
        while due < start + duration {
            self.pacer.until(due).await?;
            let request = self.prompt.fresh().to_vec();
            requests.spawn(one(self.address, self.idle.pop(), request, due));
            due += self.interval;
            while let Some(done) = requests.try_join_next() {
                self.keep(done?, &mut sent);
            }
        }
        while let Some(done) = requests.join_next().await {
            self.keep(done?, &mut sent);
        }
        Ok(sent)
    }

    fn keep(&mut self, (connection, outcome): (Option<Connection>, Sent), sent: &mut Vec<Sent>) {
        self.idle.extend(connection);
        sent.push(outcome);
    }
}

async fn one(
    address: SocketAddr,
    connection: Option<Connection>,
    request: Vec<u8>,
    due: Instant,
) -> (Option<Connection>, Sent) {
    let lag = Instant::now().saturating_duration_since(due);
    let mut answer = Vec::new();
    let exchange = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let (status, keeps) = connection.exchange(&request, &mut answer).await?;
        anyhow::ensure!(status == 200, "status {status}");
        Ok(keeps.then_some(connection))
    };
    match exchange.await {
        Ok(connection) => (connection, Sent { latency: Some(due.elapsed()), lag }),
        Err(_) => (None, Sent { latency: None, lag }),
    }
}
