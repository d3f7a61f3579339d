//! How much of a machine's time a call took, where several share the machine.
//!
//! Every moment is divided among the calls that are in flight in it, so that the shares of all calls add up to the time
//! in which the machine was busy, whatever came and went meanwhile. This is processor sharing in virtual time: the share
//! of a call is what one clock, which goes the slower the more calls there are, has moved on since the call began.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One machine.
#[derive(Default)]
pub struct Machine(Mutex<Clock>);

#[derive(Default)]
struct Clock {
    calls: u32,
    /// What each call that was there all the time would have had.
    share: Duration,
    read: Option<Instant>,
}

impl Clock {
    fn advance(&mut self, now: Instant) {
        if let Some(read) = self.read.replace(now)
            && self.calls > 0
        {
            self.share += now.saturating_duration_since(read) / self.calls;
        }
    }
}

/// A call's time on a machine. Dropped, it is over.
pub struct Shift {
    machine: Arc<Machine>,
    begun: Duration,
}

impl Machine {
    pub fn begin(self: &Arc<Self>) -> Shift {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.advance(Instant::now());
        clock.calls += 1;
        Shift { machine: self.clone(), begun: clock.share }
    }
}

impl Shift {
    /// The call's share until now.
    pub fn share(&self) -> Duration {
        let mut clock = self.machine.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.advance(Instant::now());
        clock.share.saturating_sub(self.begun)
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        let mut clock = self.machine.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.advance(Instant::now());
        clock.calls = clock.calls.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shares_of_all_calls_add_up_to_the_time_that_the_machine_was_busy() {
        let machine = Arc::new(Machine::default());
        let second = Duration::from_secs(1);
        advance(second).await;
        let first = machine.begin();
        advance(second).await;
        let other = machine.begin();
        advance(2 * second).await;
        let first_share = first.share();
        drop(first);
        advance(second).await;
        let other_share = other.share();
        drop(other);
        advance(9 * second).await;
        assert_eq!((first_share, other_share), (2 * second, 2 * second), "of 4 busy seconds, 2 were shared");
        let third = machine.begin();
        assert_eq!(third.share(), Duration::ZERO, "idle time is nobody's");
    }
}
