//! One reader of a shared answer that hardly reads: the others must not feel it.
//!
//! Each round runs twice, without the slow reader and with it. Lateness is how far behind its due time
//! an event comes, counted from the stream's first one. Events are made large, by a long model name, so
//! that the answer outgrows the buffers of the kernel and the slow reader is really in the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::latencies::Latencies;
use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::Rounds;
use crate::integrity::{StreamCheck, Verdict};
use crate::wire::connection::Connection;
use crate::wire::prompt::{Prompt, Shape};
use crate::wire::target::Target;

const ADDED: &str = "added lateness p99 ms";
/// What the slow reader reads each time; ten times a second.
const SIP: usize = 102;
/// How long before the others the slow reader asks.
const LEAD: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL; repeat it.
    #[arg(long = "target", required = true)]
    targets: Vec<Target>,
    /// Readers of one answer, the slow one apart.
    #[arg(long, default_value_t = 50)]
    count: usize,
    #[arg(long, default_value_t = 2000)]
    tokens: u64,
    #[arg(long, default_value_t = 2.0)]
    gap_ms: f64,
    #[arg(long, default_value_t = 300)]
    ttft_ms: u64,
    /// Bytes of an event, about.
    #[arg(long, default_value_t = 2048)]
    event_bytes: usize,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// NAME=MILLISECONDS: lateness that the slow reader adds, at p99.
    #[arg(long)]
    max_added_lateness_ms: Vec<Limit>,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.targets, None)?;
    let mut faults = Vec::new();
    for _ in 0..options.rounds {
        for (place, target) in options.targets.iter().enumerate() {
            let control = observe(options, target, Slow::Absent).await?;
            let slow = observe(options, target, Slow::Present).await?;
            for (name, seen) in [("alone", &control), ("with slow", &slow)] {
                rounds.record(&format!("gap p99 ms, {name}"), place, seen.gaps.p99() / 1e3);
                rounds.record(&format!("lateness p99 ms, {name}"), place, seen.lateness.p99() / 1e3);
                rounds.record(&format!("lateness max ms, {name}"), place, seen.lateness.max() / 1e3);
            }
            rounds.record(ADDED, place, (slow.lateness.p99() - control.lateness.p99()) / 1e3);
            rounds.record("bytes the slow one read", place, slow.slow_bytes as f64);
            faults.extend(control.faults.into_iter().chain(slow.faults));
        }
    }
    let mut report = Report::new("slow-reader", &rounds);
    faults.iter().take(5).for_each(|fault| report.note(fault.clone()));
    report.bar(Bar::exactly("streams that are not whole".to_owned(), faults.len() as u64, 0));
    for limit in &options.max_added_lateness_ms {
        report.bar(limit.at_most(&rounds, ADDED, &options.targets)?);
    }
    Ok(report)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slow {
    Absent,
    Present,
}

struct Seen {
    gaps: Latencies,
    lateness: Latencies,
    slow_bytes: usize,
    faults: Vec<String>,
}

async fn observe(options: &Options, target: &Target, slow: Slow) -> anyhow::Result<Seen> {
    let sim = json!({"tokens": options.tokens, "gap_ms": options.gap_ms, "ttft_ms": options.ttft_ms});
    let model = format!("sim-{}", "x".repeat(options.event_bytes.saturating_sub(200)));
    let mut prompt = Prompt::new(&Shape { stream: true, model, sim, ..Shape::default() });
    let request: Arc<[u8]> = Arc::from(prompt.fresh());
    let sipped = Arc::new(AtomicUsize::new(0));
    let mut slow_reader = JoinSet::new();
    if slow == Slow::Present {
        slow_reader.spawn(sip(target.address, Arc::clone(&request), Arc::clone(&sipped)));
        sleep(LEAD).await;
    }
    let mut readers = JoinSet::new();
    for _ in 0..options.count {
        readers.spawn(read(target.address, Arc::clone(&request)));
    }
    let (gap, mut gaps, mut lateness) =
        (Duration::from_secs_f64(options.gap_ms / 1e3), Latencies::new()?, Latencies::new()?);
    let mut faults = Vec::new();
    while let Some(events) = readers.join_next().await {
        let events = match events? {
            Ok(events) => events,
            Err(error) => {
                faults.push(format!("{}: {error}", target.name));
                continue;
            }
        };
        events.windows(2).for_each(|pair| gaps.record(pair[1] - pair[0]));
        let Some(first) = events.first() else { continue };
        for (place, event) in (0_u32..).zip(&events) {
            lateness.record(event.saturating_duration_since(*first + gap * place));
        }
    }
    let slow_bytes = sipped.load(Ordering::Relaxed);
    Ok(Seen { gaps, lateness, slow_bytes, faults })
}

/// When each token came.
async fn read(address: SocketAddr, request: Arc<[u8]>) -> anyhow::Result<Vec<Instant>> {
    let mut connection = Connection::open(address).await?;
    connection.send(&request).await?;
    let mut head = connection.head().await?;
    anyhow::ensure!(head.status == 200, "status {}", head.status);
    let (mut check, mut piece, mut events, mut ended) = (StreamCheck::new(), Vec::new(), Vec::new(), false);
    while !ended {
        piece.clear();
        ended = connection.piece(&mut head.body, &mut piece).await?;
        check.feed(&piece);
        events.resize(usize::try_from(check.tokens())?, Instant::now());
    }
    match check.verdict() {
        Verdict::Whole { .. } => Ok(events),
        verdict => anyhow::bail!("{verdict:?}"),
    }
}

/// Reads a kilobyte a second until it is dropped.
async fn sip(address: SocketAddr, request: Arc<[u8]>, sipped: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut connection = Connection::open_narrow(address, 2048).await?;
    connection.send(&request).await?;
    let mut buffer = [0; SIP];
    loop {
        let count = connection.raw(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        sipped.fetch_add(count, Ordering::Relaxed);
        sleep(Duration::from_millis(100)).await;
    }
}
