//! Equal requests at once: the backend sees one generation, and every client the same complete bytes.

mod multiplexed;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::latencies::Latencies;
use super::report::{Bar, Report};
use super::rounds::Rounds;
use crate::integrity::{StreamCheck, Verdict};
use crate::wire::connection::{Answer, Connection};
use crate::wire::files;
use crate::wire::prompt::{Prompt, Shape};
use crate::wire::simulator::Simulator;
use crate::wire::target::{Target, address};

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL; repeat it.
    #[arg(long = "target", required = true)]
    targets: Vec<Target>,
    /// Where the simulator behind them is, for its counts.
    #[arg(long)]
    sim: String,
    /// Equal requests.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Ask for a stream.
    #[arg(long)]
    stream: bool,
    /// Requests that share an HTTP/2 connection, where there are more than files may be open.
    #[arg(long, default_value_t = 200)]
    per_connection: usize,
    /// Until the first token: all must have arrived by then. By default it grows with the count.
    #[arg(long)]
    ttft_ms: Option<u64>,
    #[arg(long, default_value_t = 64)]
    tokens: u64,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Generations that each herd may start; 1 is what this is about.
    #[arg(long, default_value_t = 1)]
    started: u64,
}

/// A client's answer, and when it was complete; the error says why there is none.
type Outcome = Result<(Answer, Duration), String>;

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.targets, None)?;
    let mut simulator = Simulator::connect(address(&options.sim)?).await?;
    let (mut bars, mut notes) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for (place, target) in options.targets.iter().enumerate() {
            let before = simulator.counts().await?;
            let outcomes = stampede(options, target.address).await?;
            let started = simulator.counts().await?.started - before.started;
            let seen = Seen::of(&outcomes, options);
            bars.push(Bar::exactly(format!("generations started, {}", target.name), started, options.started));
            bars.push(Bar::exactly(format!("clients with a whole answer, {}", target.name), seen.whole, seen.clients));
            bars.push(Bar::exactly(format!("different answers, {}", target.name), seen.different, options.started));
            notes.extend(seen.errors);
            let latencies = Latencies::of(outcomes.iter().flatten().map(|(_, after)| *after))?;
            rounds.record("generations started", place, started as f64);
            rounds.record("complete after us, p50", place, latencies.p50());
            rounds.record("complete after us, max", place, latencies.max());
        }
    }
    let mut report = Report::new("herd", &rounds);
    notes.into_iter().for_each(|note| report.note(note));
    bars.into_iter().for_each(|bar| report.bar(bar));
    Ok(report)
}

async fn stampede(options: &Options, address: SocketAddr) -> anyhow::Result<Vec<Outcome>> {
    // The slowest proxy in sight takes about a third of a millisecond for a request of this kind.
    let ttft_ms = options.ttft_ms.unwrap_or(500 + options.count as u64 / 3);
    let sim = json!({"tokens": options.tokens, "ttft_ms": ttft_ms, "gap_ms": 2});
    let mut prompt = Prompt::new(&Shape { stream: options.stream, sim, ..Shape::default() });
    prompt.fresh();
    if options.count <= files::connections() {
        singly(address, options.count, Arc::from(prompt.latest())).await
    } else {
        multiplexed::ask(address, options.count, options.per_connection, prompt.body()).await
    }
}

/// A connection for each; all are open before the first request goes out.
async fn singly(address: SocketAddr, count: usize, request: Arc<[u8]>) -> anyhow::Result<Vec<Outcome>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::open(address).await?);
    }
    let (mut clients, gate) = (JoinSet::new(), Arc::new(Barrier::new(count)));
    for connection in connections {
        clients.spawn(client(connection, Arc::clone(&request), Arc::clone(&gate)));
    }
    let mut outcomes = Vec::with_capacity(count);
    while let Some(outcome) = clients.join_next().await {
        outcomes.push(outcome?);
    }
    Ok(outcomes)
}

async fn client(mut connection: Connection, request: Arc<[u8]>, gate: Arc<Barrier>) -> Outcome {
    gate.wait().await;
    let (start, mut body) = (Instant::now(), Vec::new());
    let exchange = connection.exchange(&request, &mut body).await;
    let (status, _) = exchange.map_err(|error| error.to_string())?;
    Ok((Answer { status, body }, start.elapsed()))
}

struct Seen {
    clients: u64,
    whole: u64,
    different: u64,
    errors: Vec<String>,
}

impl Seen {
    fn of(outcomes: &[Outcome], options: &Options) -> Seen {
        let mut answers: Vec<(&Answer, u64)> = Vec::new();
        let mut errors: Vec<String> = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok((answer, _)) => match answers.iter_mut().find(|(known, _)| *known == answer) {
                    Some((_, times)) => *times += 1,
                    None => answers.push((answer, 1)),
                },
                Err(error) if errors.len() < 5 => errors.push(error.clone()),
                Err(_) => {}
            }
        }
        let whole = answers.iter().filter(|(answer, _)| is_whole(answer, options)).map(|(_, times)| times).sum();
        for (answer, times) in answers.iter().filter(|(answer, _)| !is_whole(answer, options)).take(3) {
            let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]);
            errors.push(format!("{times} times status {}: {start}", answer.status));
        }
        Seen { clients: outcomes.len() as u64, whole, different: answers.len() as u64, errors }
    }
}

fn is_whole(answer: &Answer, options: &Options) -> bool {
    if answer.status != 200 {
        return false;
    }
    if options.stream {
        let mut check = StreamCheck::new();
        check.feed(&answer.body);
        return matches!(check.verdict(), Verdict::Whole { tokens, .. } if tokens == options.tokens);
    }
    let body: Result<serde_json::Value, _> = serde_json::from_slice(&answer.body);
    body.is_ok_and(|body| body["sim"]["tokens"] == options.tokens)
}
