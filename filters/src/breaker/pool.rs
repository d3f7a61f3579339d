//! The backends that can answer one model, and the choice between them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::affinity::Affinity;
use super::config::{Balance, Config, Terms};
use super::first_tokens::FirstTokens;
use super::lane::{Lane, Obstacle};
use crate::Tenant;
use crate::reply::degraded;

/// A backend in a pool.
#[derive(Clone)]
pub struct Seat {
    pub lane: Arc<Lane>,
    /// What this backend calls the model, where that is another name than was asked for.
    pub rename: Option<Arc<str>>,
}

/// Backends of one tier that answer the same.
pub struct Pool {
    pub seats: Vec<Seat>,
    affinity: Arc<Affinity>,
    /// How far each is behind its turn: smooth weighted round robin, as nginx has it.
    turns: Mutex<Vec<f64>>,
    most_ejected: usize,
    /// Held by who puts one out, in any pool, so that two at once cannot pass the bound.
    ejections: Arc<Mutex<()>>,
}

impl Pool {
    /// Which beginnings of prompts are popular is known from `before`, if that has the same backends.
    pub fn new(seats: Vec<Seat>, room: &Config, ejections: Arc<Mutex<()>>, before: &[Arc<Affinity>]) -> Self {
        let named: Vec<_> =
            seats.iter().map(|seat| (seat.lane.member.name(), seat.lane.member.config.weight)).collect();
        let known = before.iter().find(|affinity| affinity.is_of(&named));
        let affinity = known.cloned().unwrap_or_else(|| Arc::new(Affinity::new(&named, LOAD_FACTOR)));
        let most_ejected = (seats.len() as f64 * room.max_ejected_ratio.get()) as usize;
        let turns = Mutex::new(vec![0.0; seats.len()]);
        Pool { seats, affinity, turns, most_ejected: most_ejected.max(1), ejections }
    }

    pub const fn affinity(&self) -> &Arc<Affinity> {
        &self.affinity
    }

    /// Whether this one may be left alone for a matter of degree; it is counted as out if so.
    pub fn may_eject(&self, lane: &Lane) -> bool {
        let _turn = self.ejections.lock().unwrap_or_else(PoisonError::into_inner);
        let is_out = |seat: &&Seat| {
            !Arc::ptr_eq(&seat.lane.known, &lane.known) && seat.lane.known.is_out.load(Ordering::Acquire)
        };
        let may = self.seats.iter().filter(is_out).count() < self.most_ejected;
        if may {
            lane.known.is_out.store(true, Ordering::Release);
        }
        may
    }

    /// The seats that this tenant may ask at, without those left out.
    pub fn usable(&self, tenant: &Tenant, without: &[usize], now: Instant) -> Vec<usize> {
        let usable = |place: &usize| {
            let lane = &self.seats[*place].lane;
            !without.contains(&lane.member.index) && lane.obstacle(tenant, now).is_none()
        };
        (0..self.seats.len()).filter(usable).collect()
    }

    /// What stands in the way everywhere: the first that will be over.
    pub fn obstacle(&self, tenant: &Tenant, now: Instant) -> Option<Obstacle> {
        let obstacles = self.seats.iter().filter_map(|seat| seat.lane.obstacle(tenant, now));
        obstacles.min_by_key(|obstacle| (obstacle.until().is_none(), obstacle.until()))
    }

    /// When the first of them may be asked again: now, or when a pause is over. An open breaker is not waited for.
    pub fn soonest(&self, tenant: &Tenant, now: Instant) -> Option<Instant> {
        let soonest = |seat: &Seat| match seat.lane.obstacle(tenant, now) {
            None => Some(now),
            Some(Obstacle::Pause(until)) => Some(until),
            Some(_) => None,
        };
        self.seats.iter().filter_map(soonest).min()
    }

    /// One of the usable seats.
    pub fn choose(&self, balance: Balance, usable: &[usize], key: impl FnOnce(&Affinity) -> u64) -> Option<usize> {
        match (usable, balance) {
            ([] | [_], _) => usable.first().copied(),
            (_, Balance::LeastInFlight) => self.least_of_two(usable),
            (_, Balance::RoundRobin) => self.next_in_turn(usable),
            (_, Balance::Prefix) => {
                let load = |place: usize| self.seats[place].lane.member.in_flight.load(Ordering::Relaxed);
                self.affinity.choose(key(&self.affinity), usable, load)
            }
        }
    }

    /// The power of two choices (Mitzenmacher 2001).
    fn least_of_two(&self, usable: &[usize]) -> Option<usize> {
        let first = fastrand::usize(..usable.len());
        let second = (first + 1 + fastrand::usize(..usable.len() - 1)) % usable.len();
        let (first, second) = (usable[first], usable[second]);
        let mean = |place: usize| self.seats[place].lane.member.first_tokens.mean();
        // One of which nothing is known is taken to be like the other.
        let usual = match (mean(first), mean(second)) {
            (Some(first), Some(second)) => first.min(second),
            (one, other) => one.or(other).unwrap_or(1.0),
        };
        let burden = |place: usize| self.seats[place].lane.member.burden(usual);
        // Not for a little: times waver, and whoever is a little better would get all that comes one by one.
        Some(if burden(second) * CLEARLY < burden(first) { second } else { first })
    }

    fn next_in_turn(&self, usable: &[usize]) -> Option<usize> {
        let weight = |place: usize| self.seats[place].lane.member.config.weight;
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        usable.iter().for_each(|place| turns[*place] += weight(*place));
        let chosen = *usable.iter().max_by(|left, right| turns[**left].total_cmp(&turns[**right]))?;
        turns[chosen] -= usable.iter().map(|place| weight(*place)).sum::<f64>();
        Some(chosen)
    }
}

/// How much less a backend must have to do than one that chance has put first.
const CLEARLY: f64 = 1.25;
/// With affinity a backend has at most this many times its share in flight.
const LOAD_FACTOR: f64 = 1.25;

/// Why an answer is not quite what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degraded {
    /// It came from a backend of a higher tier.
    FallbackPool,
    /// It came from another model.
    FallbackModel,
}

impl Degraded {
    pub const fn name(self) -> &'static str {
        match self {
            Degraded::FallbackPool => degraded::FALLBACK_POOL,
            Degraded::FallbackModel => degraded::FALLBACK_MODEL,
        }
    }
}

pub struct Stage {
    pub pool: Arc<Pool>,
    pub degraded: Option<Degraded>,
}

/// Who is asked for a model, in which order, and on what terms.
pub struct Plan {
    pub terms: Terms,
    pub stages: Vec<Stage>,
    pub first_tokens: Arc<FirstTokens>,
    /// The slowest twentieth of first tokens begins here, in microseconds; 0 where too little is known.
    pub p95_micros: AtomicU64,
    pub used: AtomicBool,
}

/// What plans of a model learn, for those that come after them.
#[derive(Clone)]
pub struct Learned {
    pub first_tokens: Arc<FirstTokens>,
    pub affinities: Vec<Arc<Affinity>>,
}

/// First tokens without which their quantile says nothing.
const FEW: u64 = 20;

impl Plan {
    pub fn learned(&self) -> Learned {
        let affinities = self.stages.iter().map(|stage| stage.pool.affinity().clone()).collect();
        Learned { first_tokens: self.first_tokens.clone(), affinities }
    }

    /// How long to wait for a first token before a second backend is asked.
    pub fn hedge_after(&self) -> Option<Duration> {
        let micros = self.p95_micros.load(Ordering::Relaxed);
        (self.terms.hedge && micros > 0).then(|| Duration::from_micros(micros))
    }

    /// Learns from what has been since; called every second or so.
    pub fn learn(&self) {
        if self.terms.hedge {
            let quantiles = self.first_tokens.quantiles();
            let p95 = if quantiles.count < FEW { 0 } else { quantiles.p95.as_micros() as u64 };
            self.p95_micros.store(p95, Ordering::Relaxed);
        }
    }
}
