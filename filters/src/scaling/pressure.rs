//! More to do than can be done: from when on, and until when.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Scaled;

/// How long requests must wait or be refused before that is called pressure: a burst that fits a moment later is none.
pub const MOMENT: Duration = Duration::from_secs(2);
/// How long there must be none of it until it is over; longer than a number of replicas must stand, so that who came
/// before the relief is known by then.
pub const CALM: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) enum Pressure {
    #[default]
    Calm,
    /// Some is seen, for too short a time to be told.
    Rising {
        since: Instant,
        scaled: Scaled,
    },
    On {
        since: Instant,
        scaled: Scaled,
    },
    /// None is seen, for too short a time to be over.
    Easing {
        since: Instant,
        calm: Instant,
        scaled: Scaled,
    },
}

pub(super) enum Told {
    Begun,
    /// From the first that was seen to the last.
    Over {
        after: Duration,
        scaled: Scaled,
    },
}

impl Pressure {
    pub fn look(&mut self, now: Instant, pressed: bool) -> Option<Told> {
        let (next, told) = match (&*self, pressed) {
            (Pressure::Calm, true) => (Pressure::Rising { since: now, scaled: Scaled::Nothing }, None),
            (Pressure::Calm | Pressure::Rising { .. }, false) => (Pressure::Calm, None),
            (&Pressure::Rising { since, scaled }, true) if now - since >= MOMENT => {
                (Pressure::On { since, scaled }, Some(Told::Begun))
            }
            (&Pressure::Easing { since, scaled, .. }, true) => (Pressure::On { since, scaled }, None),
            (Pressure::Rising { .. } | Pressure::On { .. }, true) => return None,
            (&Pressure::On { since, scaled }, false) => (Pressure::Easing { since, calm: now, scaled }, None),
            (&Pressure::Easing { since, calm, scaled }, false) if now - calm >= CALM => {
                (Pressure::Calm, Some(Told::Over { after: calm - since, scaled }))
            }
            (Pressure::Easing { .. }, false) => return None,
        };
        *self = next;
        told
    }

    /// Somebody was added, at a moment that may lie a little back: it counts where there was pressure then.
    pub fn scaled(&mut self, what: Scaled, at: Instant) {
        match self {
            Pressure::Calm => {}
            Pressure::Rising { since, scaled } | Pressure::On { since, scaled } if at >= *since => {
                *scaled = what.max(*scaled);
            }
            Pressure::Easing { since, calm, scaled } if (*since..=*calm).contains(&at) => *scaled = what.max(*scaled),
            Pressure::Rising { .. } | Pressure::On { .. } | Pressure::Easing { .. } => {}
        }
    }

    pub const fn is_on(&self) -> bool {
        matches!(self, Pressure::On { .. } | Pressure::Easing { .. })
    }

    pub fn report(&self, now: Instant) -> Value {
        let (state, since, scaled) = match *self {
            Pressure::Calm => return json!({ "state": "calm" }),
            Pressure::Rising { since, scaled } => ("rising", since, scaled),
            Pressure::On { since, scaled } => ("on", since, scaled),
            Pressure::Easing { since, scaled, .. } => ("easing", since, scaled),
        };
        let for_ms = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        json!({ "state": state, "for_ms": for_ms, "scaled": scaled })
    }
}
