//! Requests that come at a constant rate whatever becomes of them, streams and plain ones mixed, each with its story.
//!
//! Unlike [`super::constant_rate`] this tells a refusal from an error and a broken answer from none, and when what came.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::integrity::{StreamCheck, Verdict};
use crate::wire::connection::Connection;
use crate::wire::pacer::Pacer;
use crate::wire::prompt::{Prompt, Shape};

/// An answer that takes longer is given up, and is an error.
const LONGEST: Duration = Duration::from_secs(30);

/// What became of one request. Times count from when it was due.
#[derive(Debug)]
pub struct Outcome {
    pub due: Instant,
    /// From when it was due to the sending.
    pub lag: Duration,
    /// To the first token of a stream, or to the whole of a plain answer.
    pub first: Option<Duration>,
    pub over: Duration,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// 429 or 503: told that there is no room.
    Refused,
    /// Another status, or none.
    Failed(String),
    /// It began well and did not end well.
    Broken(String),
}

impl Outcome {
    pub fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    pub fn is_error(&self) -> bool {
        matches!(self.end, End::Failed(_) | End::Broken(_))
    }
}

pub struct Arrivals {
    address: SocketAddr,
    /// Taken in turns.
    kinds: Vec<(bool, Prompt)>,
    next: usize,
    pacer: Pacer,
    idle: Vec<Connection>,
}

impl Arrivals {
    pub fn new(address: SocketAddr, shapes: &[Shape]) -> anyhow::Result<Arrivals> {
        let kinds = shapes.iter().map(|shape| (shape.stream, Prompt::new(shape))).collect();
        Ok(Arrivals { address, kinds, next: 0, pacer: Pacer::new()?, idle: Vec::new() })
    }

    /// Sends so many a second for this long, and waits for what was sent.
    pub async fn run(&mut self, rate: f64, duration: Duration) -> anyhow::Result<Vec<Outcome>> {
        let interval = Duration::from_secs_f64(1.0 / rate);
        let (mut requests, mut outcomes) = (JoinSet::new(), Vec::new());
        let start = Instant::now() + interval;
        let mut due = start;
        while due < start + duration {
            self.pacer.until(due).await?;
            self.next = (self.next + 1) % self.kinds.len();
            let (stream, prompt) = &mut self.kinds[self.next];
            requests.spawn(ask(self.address, self.idle.pop(), prompt.fresh().to_vec(), *stream, due));
            due += interval;
            while let Some(done) = requests.try_join_next() {
                self.keep(done?, &mut outcomes);
            }
        }
        while let Some(done) = requests.join_next().await {
            self.keep(done?, &mut outcomes);
        }
        outcomes.sort_by_key(|outcome| outcome.due);
        Ok(outcomes)
    }

    fn keep(&mut self, (connection, outcome): (Option<Connection>, Outcome), outcomes: &mut Vec<Outcome>) {
        self.idle.extend(connection);
        outcomes.push(outcome);
    }
}

async fn ask(
    address: SocketAddr,
    connection: Option<Connection>,
    request: Vec<u8>,
    stream: bool,
    due: Instant,
) -> (Option<Connection>, Outcome) {
    let lag = Instant::now().saturating_duration_since(due);
    let mut story = Story { due, first: None, connection: None };
    let told = timeout(LONGEST, story.exchange(address, connection, &request, stream)).await;
    let end = told.unwrap_or_else(|_| Ok(End::Failed("no end within half a minute".to_owned())));
    let end = end.unwrap_or_else(|error| match story.first {
        Some(_) => End::Broken(error.to_string()),
        None => End::Failed(error.to_string()),
    });
    (story.connection, Outcome { due, lag, first: story.first, over: due.elapsed(), end })
}

struct Story {
    due: Instant,
    first: Option<Duration>,
    /// To be used again.
    connection: Option<Connection>,
}

impl Story {
    async fn exchange(
        &mut self,
        address: SocketAddr,
        connection: Option<Connection>,
        request: &[u8],
        stream: bool,
    ) -> anyhow::Result<End> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        connection.send(request).await?;
        let mut head = connection.head().await?;
        let streams = stream && head.status == 200;
        let (mut check, mut piece, mut ended) = (StreamCheck::new(), Vec::new(), false);
        while !ended {
            piece.clear();
            ended = connection.piece(&mut head.body, &mut piece).await?;
            if streams {
                check.feed(&piece);
                if self.first.is_none() && check.tokens() > 0 {
                    self.first = Some(self.due.elapsed());
                }
            }
        }
        self.connection = head.keeps.then_some(connection);
        Ok(match (head.status, streams) {
            (200, true) => match check.verdict() {
                Verdict::Whole { .. } => End::Whole,
                verdict => End::Broken(format!("{verdict:?}")),
            },
            (200, false) => {
                self.first = Some(self.due.elapsed());
                End::Whole
            }
            (429 | 503, _) => End::Refused,
            (status, _) => End::Failed(format!("status {status}")),
        })
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;

    pub fn outcome(due: Instant, first_ms: Option<u64>, end: End) -> Outcome {
        let first = first_ms.map(Duration::from_millis);
        Outcome { due, lag: Duration::ZERO, first, over: first.unwrap_or_default(), end }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::Beside;
    use crate::wire::target::address;

    async fn ends(sim: serde_json::Value) -> Vec<Outcome> {
        let simulator = Beside::start().unwrap();
        let shape = |stream| Shape { stream, sim: sim.clone(), ..Shape::default() };
        let mut arrivals = Arrivals::new(address(&simulator.url).unwrap(), &[shape(true), shape(false)]).unwrap();
        arrivals.run(100.0, Duration::from_millis(100)).await.unwrap()
    }

    #[tokio::test]
    async fn streams_and_plain_answers_are_told_from_refusals_and_from_what_breaks() {
        let good = ends(json!({"ttft_ms": 5, "tokens": 3})).await;
        assert!(good.len() == 10 && good.iter().all(Outcome::is_whole), "{good:?}");
        assert!(good.iter().all(|one| one.first.is_some_and(|first| first >= Duration::from_millis(5))), "{good:?}");
        let refused = ends(json!({"status": 503})).await;
        assert!(refused.iter().all(|one| one.end == End::Refused && one.first.is_none()), "{refused:?}");
        let cut = ends(json!({"tokens": 3, "gap_ms": 1, "fault": "cut"})).await;
        let broken = cut.iter().filter(|one| matches!(one.end, End::Broken(_))).count();
        assert_eq!(broken, 5, "the streams, which had begun: {cut:?}");
        assert!(cut.iter().all(Outcome::is_error), "{cut:?}");
    }
}
