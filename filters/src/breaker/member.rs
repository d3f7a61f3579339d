//! One backend: what it has to do, how soon it answers, what the operator says of it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::admission::Admission;
use super::config::{Backend, Config};
use super::engine::Engine;
use super::first_tokens::FirstTokens;
use super::gate::{Outcome, Phase};
use super::lane::Lane;
use super::pressure::{Pressed, Pressure};
use crate::labels;

/// What an operator has said of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Override {
    /// Its breakers decide.
    Auto = 0,
    /// It is asked whatever they say.
    ForcedClosed = 1,
    /// It is not asked.
    ForcedOpen = 2,
    /// It is asked nothing new; what it is at goes on to its end.
    Draining = 3,
}

impl Override {
    pub const fn name(self) -> &'static str {
        match self {
            Override::Auto => "auto",
            Override::ForcedClosed => "forced_closed",
            Override::ForcedOpen => "forced_open",
            Override::Draining => "draining",
        }
    }
}

/// What the active checks say.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub failed: u32,
    pub good: u32,
    pub last: Option<(Instant, Result<(), Arc<str>>)>,
}

pub struct Member {
    pub index: usize,
    pub config: Backend,
    pub in_flight: AtomicU64,
    pub first_tokens: FirstTokens,
    pub admission: Arc<Admission>,
    pub health: Mutex<Health>,
    pub engine: Mutex<Option<(Engine, Instant)>>,
    /// Requests that its engine has beyond ours, as it last said, and how full its cache is, in thousandths.
    pub foreign_load: AtomicU32,
    pub cache_fill: AtomicU32,
    /// Calls by what came of them, in the order of [`Outcome::ALL`]; and streams that stalled.
    pub calls: [AtomicU64; Outcome::ALL.len()],
    pub stalls: AtomicU64,
    pub pressed: Pressed,
    healthy: AtomicBool,
    order: AtomicU8,
    lanes: DashMap<Box<str>, Arc<Lane>>,
}

/// Models of one backend that have a breaker of their own; the rest share one.
const MOST_LANES: usize = 256;

impl Member {
    pub fn new(index: usize, config: &Backend, room: &Config) -> Self {
        let admission = Admission::new(room.admission.clone());
        admission.set_capacity(config.kv_tokens);
        Member {
            index,
            config: config.clone(),
            in_flight: AtomicU64::new(0),
            first_tokens: FirstTokens::new(),
            admission,
            health: Mutex::default(),
            engine: Mutex::default(),
            foreign_load: AtomicU32::new(0),
            cache_fill: AtomicU32::new(0),
            calls: Default::default(),
            stalls: AtomicU64::new(0),
            pressed: Pressed::default(),
            healthy: AtomicBool::new(true),
            order: AtomicU8::new(Override::Auto as u8),
            lanes: DashMap::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The name under which it knows a model, if it serves it.
    pub fn serves<'name>(&'name self, model: &'name str) -> Option<&'name str> {
        if let Some((_, own)) = self.config.aliases.iter().find(|(alias, _)| alias == model) {
            return Some(own);
        }
        self.config.models.iter().any(|models| models.matches(model)).then_some(model)
    }

    pub fn lane(self: &Arc<Self>, model: &str, room: &Config) -> Arc<Lane> {
        if let Some(lane) = self.lanes.get(model) {
            return lane.clone();
        }
        let own = self.lanes.len() < MOST_LANES && labels::is_harmless(model);
        let model = if own { model } else { labels::OTHER };
        let lane = self.lanes.entry(model.into()).or_insert_with(|| Arc::new(Lane::new(self.clone(), model, room)));
        lane.clone()
    }

    /// The breakers of its models, by the models' names.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes: Vec<_> = self.lanes.iter().map(|lane| lane.value().clone()).collect();
        lanes.sort_by(|left, right| left.model.cmp(&right.model));
        lanes
    }

    pub fn has_one_lane(&self) -> bool {
        self.lanes.len() == 1
    }

    /// Forgets the breakers that no plan uses any more and that nothing is known against.
    pub fn forget_idle_lanes(&self) {
        let now = Instant::now();
        self.lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.gate.phase(now) != Phase::Closed);
    }

    /// Whether any of its breakers lets somebody in, or it has none yet.
    pub fn can_be_asked(&self) -> bool {
        let (now, lanes) = (Instant::now(), self.lanes());
        let shut = |lane: &Arc<Lane>| lane.gate.phase(now) == Phase::Open;
        self.order() == Override::ForcedClosed || lanes.is_empty() || !lanes.iter().all(shut)
    }

    pub fn order(&self) -> Override {
        match self.order.load(Ordering::Acquire) {
            1 => Override::ForcedClosed,
            2 => Override::ForcedOpen,
            3 => Override::Draining,
            _ => Override::Auto,
        }
    }

    /// Gives the order that stood before.
    pub fn obey(&self, order: Override) -> Override {
        let before = self.order();
        self.order.store(order as u8, Ordering::Release);
        if matches!(order, Override::ForcedOpen | Override::Draining) {
            self.admission.turn_away();
        }
        before
    }

    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// As another process has found it.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Release);
    }

    /// Counts a check; true where it changes whether the backend is healthy.
    pub fn checked(&self, outcome: Result<(), Arc<str>>, room: &Config) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(()) => (health.good, health.failed) = (health.good + 1, 0),
            Err(_) => (health.good, health.failed) = (0, health.failed + 1),
        }
        health.last = Some((Instant::now(), outcome));
        let (was, now) = match self.is_healthy() {
            true => (true, health.failed < room.unhealthy_after.get()),
            false => (false, health.good >= room.healthy_after.get()),
        };
        self.healthy.store(now, Ordering::Release);
        if was && !now {
            self.admission.turn_away();
        }
        was != now
    }

    /// What it has to do for its weight, in times to the first token: the less, the sooner it answers.
    pub fn burden(&self, usual: f64) -> f64 {
        let ours = self.in_flight.load(Ordering::Relaxed) as f64;
        let foreign = f64::from(self.foreign_load.load(Ordering::Relaxed));
        // A cache of keys and values that is nearly full makes the engine preempt what it has begun.
        let fill = f64::from(self.cache_fill.load(Ordering::Relaxed)) / 1000.0;
        let crowded = 1.0 + (fill - 0.9).max(0.0) * 10.0;
        (ours + foreign + 1.0) * self.first_tokens.mean_or(usual) * crowded / self.config.weight
    }

    pub fn pressure(&self) -> Pressure {
        self.pressed.now(Instant::now())
    }

    /// Whether another is to be asked before it, if it can.
    pub fn is_spared(&self, now: Instant) -> bool {
        self.order() == Override::Auto && self.pressed.now(now) == Pressure::Avoid
    }

    /// Whether the operator and the active checks let it be asked.
    pub fn is_welcome(&self) -> bool {
        match self.order() {
            Override::Auto => self.is_healthy(),
            Override::ForcedClosed => true,
            Override::ForcedOpen | Override::Draining => false,
        }
    }
}
