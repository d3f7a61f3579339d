//! When each token is due: the first after the TTFT, each later one a gap after the one before.
//!
//! Due times are counted from the start and not from the last token, so that the rate holds where a
//! gap is finer than the timer's millisecond: what has fallen due together goes out together.
//! Where the generation has to wait for a slot, it starts when it has one, and holds it to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::slots::Turn;

pub struct Pace {
    start: Instant,
    first: Duration,
    gap: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    turn: Option<Turn>,
}

impl Pace {
    pub fn new(start: Instant, first: Duration, gap: Duration) -> Pace {
        Pace { start, first, gap, sleep: None, turn: None }
    }

    /// Of a generation that starts when its turn comes.
    pub fn in_turn(self, turn: Turn) -> Pace {
        Pace { turn: Some(turn), ..self }
    }

    pub fn is_immediate(&self) -> bool {
        self.first.is_zero() && self.gap.is_zero()
    }

    /// Whether tokens after the first come together with it.
    pub fn is_gapless(&self) -> bool {
        self.gap.is_zero()
    }

    /// Ready once token `index` is due.
    pub fn poll_due(&mut self, index: u64, context: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = self.turn.as_mut().filter(|turn| !turn.has_come()) {
            ready!(turn.poll(context));
            self.start = Instant::now();
        }
        if self.is_immediate() {
            return Poll::Ready(());
        }
        let due = self.due(index);
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(due),
            empty => *empty = Some(Box::pin(sleep_until(due))),
        }
        self.sleep.as_mut().map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(context))
    }

    /// Waits until token `index` is due.
    pub async fn due_at(&mut self, index: u64) {
        std::future::poll_fn(|context| self.poll_due(index, context)).await;
    }

    fn due(&self, index: u64) -> Instant {
        self.start + self.first + self.gap.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX))
    }
}
