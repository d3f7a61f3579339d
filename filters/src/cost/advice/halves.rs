//! A window that slides by halves: what is older than a whole window is forgotten at once.
//!
//! It speaks of the running half and the one before, so of half a window at least, once that long has passed,
//! and of a whole one at most. Nothing is decayed: sums of money stay exact.

use std::time::Duration;

use tokio::time::Instant;

pub struct Halves<T> {
    half: Duration,
    begun: Instant,
    now: T,
    before: Option<T>,
    fresh: fn() -> T,
}

impl<T> Halves<T> {
    pub fn new(window: Duration, fresh: fn() -> T) -> Self {
        let half = (window / 2).max(Duration::from_millis(1));
        Halves { half, begun: Instant::now(), now: fresh(), before: None, fresh }
    }

    /// The half that a moment falls into. A moment before it is taken to be in it.
    pub fn at(&mut self, moment: Instant) -> &mut T {
        let past = moment.saturating_duration_since(self.begun);
        if past >= self.half {
            let halves = past.as_nanos() / self.half.as_nanos();
            let ended = std::mem::replace(&mut self.now, (self.fresh)());
            // After a silence of a whole half, the one before is that silence.
            self.before = Some(if halves == 1 { ended } else { (self.fresh)() });
            let over = (past.as_nanos() % self.half.as_nanos()) as u64;
            self.begun = moment.checked_sub(Duration::from_nanos(over)).unwrap_or(moment);
        }
        &mut self.now
    }

    /// How much time the two halves speak of.
    pub fn covers(&self, moment: Instant) -> Duration {
        let running = moment.saturating_duration_since(self.begun);
        running + if self.before.is_some() { self.half } else { Duration::ZERO }
    }

    /// The halves, the older first.
    pub fn both(&self) -> impl Iterator<Item = &T> {
        self.before.iter().chain([&self.now])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_a_window_is_forgotten() {
        let mut sums = Halves::new(Duration::from_secs(10), || 0_u32);
        let mut seen = Vec::new();
        for amount in [1, 2, 4, 8] {
            *sums.at(Instant::now()) += amount;
            seen.push((sums.both().sum::<u32>(), sums.covers(Instant::now()).as_secs()));
            tokio::time::advance(Duration::from_secs(4)).await;
        }
        // At 0, 4, 8 and 12 seconds: a half begins at 5, the next at 10.
        assert_eq!(seen, [(1, 0), (3, 4), (7, 8), (12, 7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_silence_nothing_is_left() {
        let mut sums = Halves::new(Duration::from_secs(10), || 0_u32);
        *sums.at(Instant::now()) += 1;
        tokio::time::advance(Duration::from_secs(11)).await;
        sums.at(Instant::now());
        assert_eq!(sums.both().sum::<u32>(), 0);
        assert_eq!(sums.covers(Instant::now()), Duration::from_secs(6), "a half of silence, and a second");
    }
}
