//! One clock for every figure the simulator reports: microseconds since the process began.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    unix_origin: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the `created` fields are dates; it is read once, so it cannot jump")]
    pub fn start() -> Clock {
        Clock {
            origin: Instant::now(),
            // A wall clock before 1970 only makes `created` wrong, which nothing here depends on.
            unix_origin: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    pub fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Wall-clock seconds, for the `created` fields; steady even where the machine's clock is set.
    pub fn unix_seconds(&self) -> u64 {
        (self.unix_origin + self.origin.elapsed()).as_secs()
    }

    pub fn unix_start_seconds(&self) -> u64 {
        self.unix_origin.as_secs()
    }
}
