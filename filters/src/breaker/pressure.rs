//! What presses on a backend from without: somebody who sees more of its machine than answers show says to spare it.
//!
//! A pressure is a lease. Whoever presses says so again before its time is over, or it is over: one who has died, or
//! who sees nothing any more, turns nobody away. So it says, too, when to come again: nothing is let in before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::Fleet;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Pressure {
    #[default]
    None = 0,
    /// Others of its pool are asked as long as one of them has room.
    Avoid = 1,
    /// It is asked nothing new; what it is at goes on to its end.
    Shed = 2,
}

impl Pressure {
    pub const fn name(self) -> &'static str {
        match self {
            Pressure::None => "none",
            Pressure::Avoid => "avoid",
            Pressure::Shed => "shed",
        }
    }
}

/// The pressure that a backend is under, and until when.
#[derive(Debug, Default)]
pub struct Pressed(Mutex<Option<(Pressure, Instant)>>);

impl Pressed {
    pub fn now(&self, now: Instant) -> Pressure {
        self.lease(now).map_or(Pressure::None, |(pressure, _)| pressure)
    }

    /// Until when it is asked nothing, if it is not.
    pub fn shed_until(&self, now: Instant) -> Option<Instant> {
        self.lease(now).filter(|(pressure, _)| *pressure == Pressure::Shed).map(|(_, until)| until)
    }

    fn lease(&self, now: Instant) -> Option<(Pressure, Instant)> {
        (*self.0.lock().unwrap_or_else(PoisonError::into_inner)).filter(|(_, until)| now < *until)
    }

    /// Gives the pressure that was before.
    fn set(&self, pressure: Pressure, until: Instant, now: Instant) -> Pressure {
        let lease = (pressure != Pressure::None).then_some((pressure, until));
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), lease);
        before.filter(|(_, until)| now < *until).map_or(Pressure::None, |(pressure, _)| pressure)
    }
}

impl Fleet {
    /// Presses on the backend of this name for so long, unless it is said anew before. Whether there is one.
    pub fn press(&self, backend: &str, pressure: Pressure, lease: Duration) -> bool {
        let Some(member) = self.named(backend) else { return false };
        let now = Instant::now();
        let before = member.pressed.set(pressure, now + lease, now);
        if before == pressure {
            return true;
        }
        if pressure == Pressure::Shed {
            // Who waits for it looks elsewhere, or is told.
            member.admission.turn_away();
        }
        match pressure {
            Pressure::None => tracing::info!(backend, was = before.name(), "a backend is pressed no more"),
            _ => tracing::warn!(backend, pressure = pressure.name(), was = before.name(), "a backend is pressed"),
        }
        true
    }
}
