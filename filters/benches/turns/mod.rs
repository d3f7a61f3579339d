//! Two chains in turns: what the first one adds to a call.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use outrigger_filters::{Ask, Body, Chain};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const ROUNDS: usize = 40;
const CALLS: usize = 2_000;

/// What a chain adds at p50: the median over the rounds, and the least and the most of them.
pub struct Added {
    pub p50: Duration,
    pub least: Duration,
    pub most: Duration,
}

pub fn added(runtime: &Runtime, with: &Chain, without: &Chain, ask: impl Fn(usize) -> Ask) -> Added {
    let mut added: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let median = |chain: &Chain| runtime.block_on(calls(chain, &ask));
            // Who goes first is no advantage over all rounds.
            let (with, without) = match round % 2 {
                0 => (median(with), median(without)),
                _ => {
                    let without = median(without);
                    (median(with), without)
                }
            };
            with.saturating_sub(without)
        })
        .collect();
    added.sort_unstable();
    Added { p50: added[ROUNDS / 2], least: added[0], most: added[ROUNDS - 1] }
}

/// The median time of so many calls, each answer read to its end.
async fn calls(chain: &Chain, ask: impl Fn(usize) -> Ask) -> Duration {
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let ask = Arc::new(ask(number));
        let begun = Instant::now();
        let reply = chain.run(ask).await.expect("an answer");
        if let Body::Events(mut events) = reply.body {
            while events.next().await.is_some() {}
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[CALLS / 2]
}
