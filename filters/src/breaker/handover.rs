//! What another process takes over when it takes this one's place: which breakers are open and for how long, who has been
//! paused, what the operator has said, and what was learned of how much each backend can do.
//!
//! It is as of one moment. What calls that are in flight then come to is heard here, and not there: a stream of minutes
//! says little of how its backend is now.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::admission::Learned;
use super::fleet::Fleet;
use super::gate::Saved;
use super::lane::Lane;
use super::member::{Member, Override};
use crate::Tenant;

/// All backends.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    backends: Vec<Backend>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Backend {
    name: String,
    order: Override,
    healthy: bool,
    learned: Learned,
    models: Vec<Model>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Model {
    name: String,
    gate: Saved,
    paused: Option<Duration>,
    paused_tenants: Vec<(Tenant, Duration)>,
}

impl Fleet {
    pub fn hand_over(&self) -> State {
        let now = Instant::now();
        State { backends: self.members.iter().map(|member| member.saved(now)).collect() }
    }

    /// Takes over what another process knew of the backends that have the same names here.
    pub fn inherit(&self, state: State) {
        let now = Instant::now();
        for backend in state.backends {
            let Some(member) = self.named(&backend.name) else { continue };
            if backend.order != Override::Auto {
                self.obey(member, backend.order);
            }
            member.admission.resume(&backend.learned);
            member.set_healthy(backend.healthy);
            for model in backend.models {
                let lane = member.lane(&model.name);
                lane.resume(&model, now);
            }
        }
    }
}

impl Member {
    fn saved(self: &Arc<Self>, now: Instant) -> Backend {
        Backend {
            name: self.name().to_owned(),
            order: self.order(),
            healthy: self.is_healthy(),
            learned: self.admission.learned(),
            models: self.lanes().iter().map(|lane| lane.saved(now)).collect(),
        }
    }
}

impl Lane {
    fn saved(&self, now: Instant) -> Model {
        let (paused, paused_tenants) = self.known.cooling.saved(now);
        Model { name: self.model.to_string(), gate: self.gate.saved(now), paused, paused_tenants }
    }

    fn resume(&self, model: &Model, now: Instant) {
        if let Some(pause) = model.paused {
            self.known.cooling.pause(None, pause, now);
        }
        for (tenant, pause) in &model.paused_tenants {
            self.known.cooling.pause(Some(*tenant), *pause, now);
        }
        let is_open = self.gate.resume(&model.gate, now);
        self.known.is_out.store(is_open, std::sync::atomic::Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
