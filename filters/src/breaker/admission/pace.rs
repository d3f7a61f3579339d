//! How soon there is room for who comes now: by how fast room was made while it was wanted.
//!
//! Only the time counts in which the backend was full. What leaves when it is not says how much is asked, and nothing of
//! how much it can do. Until enough has left, Little's law stands in: what is in flight over how long it stays.

use std::time::Duration;

use tokio::time::Instant;

/// Older time is forgotten by halves once more than so much of both has gathered.
const FREES: f64 = 64.0;
const BUSY_SECS: f64 = 2.0;
/// As many departures weighs what Little's law says.
const PRIOR: f64 = 4.0;
const SMOOTHING: f64 = 1.0 / 32.0;
/// How many standard deviations of luck a wait is planned for; a few in a hundred wait longer.
const SPREADS: f64 = 3.0;

pub struct Pace {
    full: bool,
    since: Instant,
    busy: f64,
    frees: f64,
    freed: f64,
    held: Option<f64>,
}

/// What a wait depends on beside the past.
#[derive(Clone, Copy)]
pub struct Now {
    pub at: Instant,
    /// Units in flight.
    pub used: f64,
    /// Units of a usual request.
    pub usual: f64,
}

impl Pace {
    pub const fn new(now: Instant) -> Pace {
        Pace { full: false, since: now, busy: 0.0, frees: 0.0, freed: 0.0, held: None }
    }

    /// Books the time until now, and whether the backend is full from now on.
    pub fn mark(&mut self, now: Instant, full: bool) {
        if self.full {
            self.busy += now.saturating_duration_since(self.since).as_secs_f64();
        }
        (self.full, self.since) = (full, now);
    }

    /// Whether who leaves stays for so long on the average.
    pub fn is_usual(&self, held: Duration) -> bool {
        self.held.is_none_or(|usual| held.as_secs_f64() >= usual)
    }

    /// Books what left, and how long it had stayed.
    pub fn left(&mut self, units: f64, held: Duration) {
        let held = held.as_secs_f64();
        let mean = self.held.unwrap_or(held);
        self.held = Some(mean + SMOOTHING * (held - mean));
        if self.full {
            self.frees += 1.0;
            self.freed += units;
            if self.frees > FREES && self.busy > BUSY_SECS {
                for sum in [&mut self.busy, &mut self.frees, &mut self.freed] {
                    *sum /= 2.0;
                }
            }
        }
    }

    /// How long it takes until so many units have left, on the average.
    pub fn mean(&self, units: f64, now: Now) -> Duration {
        let open = if self.full { now.at.saturating_duration_since(self.since).as_secs_f64() } else { 0.0 };
        let busy = self.busy + open;
        let (freed, busy) = match self.held {
            // Room made by nobody: who waits longer than all before has something coming soon, or nothing at all.
            None => (self.freed + now.usual, busy),
            Some(held) => {
                let prior = PRIOR * now.usual;
                (self.freed + prior, busy + prior * held / now.used.max(now.usual))
            }
        };
        Duration::try_from_secs_f64(units * busy / freed).unwrap_or(Duration::MAX)
    }

    /// How long it takes with some bad luck: a wait is the sum of many gaps, so its mean grows with their number and its
    /// spread with the root of it.
    pub fn cautious(&self, units: f64, now: Now) -> Duration {
        let gaps = (units / now.usual).max(1.0);
        let mean = self.mean(units, now).as_secs_f64();
        Duration::try_from_secs_f64(mean * (1.0 + SPREADS / gaps.sqrt())).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn idle_time_says_nothing_of_how_fast_room_is_made() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let now = |at| Now { at, used: 10.0, usual: 1.0 };
        for second in 1..=20 {
            pace.left(1.0, millis(1000));
            pace.mark(start + millis(1000 * second), false);
        }
        let at = start + millis(20_000);
        let wait = pace.mean(1.0, now(at));
        assert!((wait.as_secs_f64() - 0.1).abs() < 0.01, "ten in flight for a second each: {wait:?}");
        pace.mark(at, true);
        for place in 1..=1000 {
            pace.mark(at + millis(10 * place), true);
            pace.left(1.0, millis(1000));
        }
        let now = |at| Now { used: 100.0, ..now(at) };
        let wait = pace.mean(10.0, now(at + millis(10_000)));
        assert!((wait.as_secs_f64() - 0.1).abs() < 0.02, "ten at a hundred a second: {wait:?}");
        assert!(pace.cautious(10.0, now(at + millis(10_000))) > wait);
    }

    #[test]
    fn a_backend_that_makes_no_room_is_waited_for_ever_longer() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.mark(start, true);
        let wait = |millis_later| pace.mean(1.0, Now { at: start + millis(millis_later), used: 4.0, usual: 1.0 });
        assert_eq!(wait(0), Duration::ZERO, "nothing is known yet");
        assert!(wait(5000) >= millis(5000), "{:?}", wait(5000));
    }
}
