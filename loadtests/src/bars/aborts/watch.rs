//! Reads the simulator's log while clients leave: it only remembers the latest thousand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bars::latencies::Latencies;
use crate::wire::simulator::{Offset, Simulator};

const PERIOD: Duration = Duration::from_millis(100);

/// Generations whose last client has left, and when.
#[derive(Clone, Default)]
pub struct Departures(Arc<Mutex<HashMap<u64, Instant>>>);

impl Departures {
    pub fn book(&self, generation: u64, at: Instant) {
        self.open().insert(generation, at);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Seen {
    pub latencies: Latencies,
    /// How wrong the two clocks' offset may be.
    pub doubt_us: f64,
    pub unmatched: usize,
}

pub struct Watch {
    departures: Departures,
    stop: oneshot::Sender<()>,
    task: JoinSet<anyhow::Result<Latencies>>,
    doubt_us: f64,
}

impl Watch {
    pub async fn start(mut simulator: Simulator) -> anyhow::Result<Watch> {
        let offset = simulator.offset().await?;
        let departures = Departures::default();
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(follow(simulator, offset, departures.clone(), stopped));
        Ok(Watch { departures, stop, task, doubt_us: offset.doubt_us })
    }

    pub fn departures(&self) -> Departures {
        self.departures.clone()
    }

    pub async fn end(mut self) -> anyhow::Result<Seen> {
        // A watch that has ended already tells its error below.
        let _ = self.stop.send(());
        let mut latencies = Latencies::new()?;
        while let Some(done) = self.task.join_next().await {
            latencies = done??;
        }
        Ok(Seen { latencies, doubt_us: self.doubt_us, unmatched: self.departures.open().len() })
    }
}

async fn follow(
    mut simulator: Simulator,
    offset: Offset,
    departures: Departures,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new()?;
    loop {
        let last = timeout(PERIOD, &mut stopped).await.is_ok();
        for entry in simulator.log().await? {
            let Some(ended) = entry.ended_us else { continue };
            if let Some(left) = departures.open().remove(&entry.generation) {
                let latency = (ended as f64 - offset.microseconds(left)).max(0.0);
                latencies.record(Duration::from_secs_f64(latency / 1e6));
            }
        }
        if last {
            return Ok(latencies);
        }
    }
}
