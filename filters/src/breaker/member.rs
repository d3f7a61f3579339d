//! One backend: what it has to do, how soon it answers, what the operator says of it.

use std::ops::Deref;
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
use super::lane::{Known, Lane};
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

/// One backend under its settings. What is known of it outlives them.
pub struct Member {
    /// Its place in [`crate::Call::backend`].
    pub index: usize,
    pub config: Backend,
    pub room: Arc<Config>,
    pub core: Arc<Core>,
}

/// What is known of a backend, whatever its settings.
pub struct Core {
    pub in_flight: AtomicU64,
    pub first_tokens: FirstTokens,
    pub admission: Arc<Admission>,
    pub health: Mutex<Health>,
    pub engine: Mutex<Option<(Engine, Instant)>>,
    /// Requests that its engine has beyond ours, as it last said, and how full its cache is, in thousandths.
    pub foreign_load: AtomicU32,
    pub cache_fill: AtomicU32,
    /// Calls by what came of them, in the order of [`Outcome::ALL`]; and streams that stalled.
    pub calls: Arc<[AtomicU64; Outcome::ALL.len()]>,
    pub stalls: Arc<AtomicU64>,
    pub pressed: Pressed,
    healthy: AtomicBool,
    order: AtomicU8,
    lanes: DashMap<Box<str>, Arc<Known>>,
}

/// What is asked of a backend is mostly what is known of it.
impl Deref for Member {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

/// Models of one backend that have a breaker of their own; the rest share one.
const MOST_LANES: usize = 256;

impl Core {
    fn new(config: &Backend, room: &Config) -> Self {
        let admission = Admission::new(room.admission.clone());
        admission.set_capacity(config.kv_tokens);
        Core {
            in_flight: AtomicU64::new(0),
            first_tokens: FirstTokens::new(),
            admission,
            health: Mutex::default(),
            engine: Mutex::default(),
            foreign_load: AtomicU32::new(0),
            cache_fill: AtomicU32::new(0),
            calls: Arc::default(),
            stalls: Arc::default(),
            pressed: Pressed::default(),
            healthy: AtomicBool::new(true),
            order: AtomicU8::new(Override::Auto as u8),
            lanes: DashMap::new(),
        }
    }
}

impl Member {
    pub fn new(index: usize, config: &Backend, room: &Arc<Config>) -> Self {
        let core = Core::new(config, room);
        Member { index, config: config.clone(), room: room.clone(), core: Arc::new(core) }
    }

    /// The same backend under other settings; or another one of the same name, where it is elsewhere.
    pub fn renewed(&self, config: &Backend, room: &Arc<Config>) -> Self {
        let core = match self.config.address == config.address {
            true => self.core.clone(),
            false => {
                let (calls, stalls) = (self.calls.clone(), self.stalls.clone());
                let order = AtomicU8::new(self.order() as u8);
                Arc::new(Core { calls, stalls, order, ..Core::new(config, room) })
            }
        };
        Member { index: self.index, config: config.clone(), room: room.clone(), core }
    }

    /// From now on these are its settings, and those of before no more.
    pub fn take_over(&self, before: &Config, kv_tokens: Option<u64>) {
        if before.admission != self.room.admission {
            self.admission.renew(self.room.admission.clone());
        }
        if kv_tokens != self.config.kv_tokens {
            // Without a word of the settings it is the engine's to say.
            self.admission.set_capacity(self.config.kv_tokens);
        }
        if self.config.health_path.is_none() {
            *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::default();
            self.healthy.store(true, Ordering::Release);
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

    pub fn lane(self: &Arc<Self>, model: &str) -> Arc<Lane> {
        if let Some(known) = self.lanes.get(model) {
            return Arc::new(Lane::new(self.clone(), model, known.clone()));
        }
        let own = self.lanes.len() < MOST_LANES && labels::is_harmless(model);
        let model = if own { model } else { labels::OTHER };
        let first = || Arc::new(Known::new(model, &self.room));
        let known = self.lanes.entry(model.into()).or_insert_with(first).clone();
        Arc::new(Lane::new(self.clone(), model, known))
    }

    /// The breakers of its models, by the models' names.
    pub fn lanes(self: &Arc<Self>) -> Vec<Lane> {
        let lane = |known: dashmap::mapref::multiple::RefMulti<'_, Box<str>, Arc<Known>>| {
            Lane::new(self.clone(), known.key(), known.value().clone())
        };
        let mut lanes: Vec<_> = self.lanes.iter().map(lane).collect();
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
        let now = Instant::now();
        let mut any = false;
        let all_shut = self.lanes.iter().all(|lane| {
            any = true;
            lane.gate.phase(now) == Phase::Open
        });
        self.order() == Override::ForcedClosed || !(any && all_shut)
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
