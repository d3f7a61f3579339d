//! `[load]`: when requests are sent. What it says is read into one of three kinds that can only say what has a meaning.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number::Amount;
use super::table::Table;
use crate::load::arrival::{Arrivals, Profile};
use crate::load::trace::Replay;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Table", into = "Table")]
pub enum Load {
    /// Users that each wait for their answer: what is slow is asked less.
    Closed(Closed),
    /// Requests that come whether or not others are answered.
    Open(Open),
    /// Requests that once came somewhere, with their lengths.
    Trace(Replay),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// In users.
    pub profile: Profile,
    /// From an answer to the user's next request.
    pub think: Amount,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub arrivals: Arrivals,
    /// In requests a second.
    pub profile: Profile,
}

impl Load {
    /// None of a trace.
    pub fn profile(&self) -> Option<&Profile> {
        match self {
            Load::Closed(closed) => Some(&closed.profile),
            Load::Open(open) => Some(&open.profile),
            Load::Trace(_) => None,
        }
    }

    pub fn profile_mut(&mut self) -> Option<&mut Profile> {
        match self {
            Load::Closed(closed) => Some(&mut closed.profile),
            Load::Open(open) => Some(&mut open.profile),
            Load::Trace(_) => None,
        }
    }

    /// Without the warm-up; none where only the trace knows.
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Load::Trace(replay) => replay.duration_secs.map(|seconds| seconds.seconds()),
            other => other.profile().map(|profile| Duration::from_secs_f64(profile.course().seconds())),
        }
    }
}
