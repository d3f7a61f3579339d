//! All backends, and who is asked for which model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use opentelemetry::metrics::Meter;
use tokio::sync::watch;

use super::budget::Budget;
use super::config::{Backend, Config};
use super::engine::Engine;
use super::first_tokens::FirstTokens;
use super::member::{Member, Override};
use super::meters::Meters;
use super::pool::{Degraded, Learned, Plan, Pool, Seat, Stage};
use crate::newest::Newest;
use crate::{Reason, Refusal, labels};

/// Models whose plan is kept; for any other one it is made anew each time. From half of that on, those that nobody
/// asked for lately are forgotten: clients may invent names.
pub(super) const MOST_PLANS: usize = 512;

pub struct Fleet {
    pub room: Arc<Config>,
    pub members: Vec<Arc<Member>>,
    pub budget: Budget,
    pub meters: Arc<Meters>,
    pub(super) plans: DashMap<Box<str>, Arc<Plan>>,
    /// What plans under earlier settings have learned.
    pub(super) learned: HashMap<Box<str>, Learned>,
    pub(super) ejections: Arc<Mutex<()>>,
    pub(super) newest: Arc<Newest<Fleet>>,
    /// Changes with each newer one.
    pub(super) changed: Arc<watch::Sender<()>>,
}

impl Fleet {
    pub fn new(room: &Config, backends: &[Backend], meter: &Meter) -> Arc<Self> {
        let room = Arc::new(room.clone());
        let member = |(index, config): (usize, &Backend)| Arc::new(Member::new(index, config, &room));
        let members = backends.iter().enumerate().map(member).collect();
        let budget = Budget::new(room.retry_share.get(), room.min_retries_per_sec);
        let fleet = Arc::new_cyclic(|me| Fleet {
            members,
            budget,
            meters: Arc::new(Meters::new(meter)),
            plans: DashMap::new(),
            learned: HashMap::new(),
            ejections: Arc::default(),
            newest: Newest::of(me),
            changed: Arc::default(),
            room,
        });
        super::meters::observe(&fleet, meter);
        fleet
    }

    /// Tells of each change of a breaker as it happens; on the worker that saw it, so that to hear must be quick. There
    /// is one who hears: the first.
    pub fn on_change(&self, hear: impl Fn(serde_json::Value) + Send + Sync + 'static) {
        let _ = self.meters.hear.set(Box::new(hear));
    }

    /// Who is asked for this model.
    ///
    /// # Errors
    /// If nobody serves it.
    pub fn plan(&self, model: Option<&str>) -> Result<Arc<Plan>, Refusal> {
        let name = model.unwrap_or_default();
        if let Some(plan) = self.plans.get(name) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(self.make(model)?);
        if self.plans.len() < MOST_PLANS && name.len() <= labels::MAX_NAME_BYTES {
            return Ok(self.plans.entry(name.into()).or_insert(plan).clone());
        }
        Ok(plan)
    }

    fn make(&self, model: Option<&str>) -> Result<Plan, Refusal> {
        let learned = self.learned.get(model.unwrap_or_default());
        let mut stages = self.stages(model, None);
        let fallback = self.room.fallbacks.iter().find(|fallback| Some(&*fallback.model) == model);
        for other in fallback.iter().flat_map(|fallback| &fallback.to) {
            stages.extend(self.stages(Some(other), model));
        }
        if stages.is_empty() {
            return Err(Reason::NoSuchModel.into());
        }
        Ok(Plan {
            terms: self.room.terms(model.unwrap_or_default()),
            stages,
            first_tokens: learned.map_or_else(|| Arc::new(FirstTokens::new()), |known| known.first_tokens.clone()),
            p95_micros: AtomicU64::new(0),
            used: AtomicBool::new(false),
        })
    }

    /// The pools that serve a model, by tier; `instead_of` is the model that it stands in for.
    fn stages(&self, model: Option<&str>, instead_of: Option<&str>) -> Vec<Stage> {
        let mut tiers: Vec<_> = self.members.iter().map(|member| member.config.tier).collect();
        tiers.sort_unstable();
        tiers.dedup();
        let asked = instead_of.or(model);
        let known = self.learned.get(asked.unwrap_or_default()).map_or(&[][..], |known| &known.affinities);
        let seat = |member: &Arc<Member>| {
            let known_as = match model {
                Some(model) => Some(member.serves(model)?),
                None => None,
            };
            let rename = known_as.filter(|name| Some(*name) != asked).map(Into::into);
            Some(Seat { lane: member.lane(known_as.unwrap_or_default()), rename })
        };
        let pools = tiers.into_iter().map(|tier| {
            let of_tier = self.members.iter().filter(|member| member.config.tier == tier);
            of_tier.filter_map(seat).collect::<Vec<_>>()
        });
        let pools = pools.filter(|seats| !seats.is_empty());
        let stage = |(rank, seats)| {
            let degraded = match (instead_of, rank) {
                (Some(_), _) => Some(Degraded::FallbackModel),
                (None, 0) => None,
                (None, _) => Some(Degraded::FallbackPool),
            };
            Stage { pool: Arc::new(Pool::new(seats, &self.room, self.ejections.clone(), known)), degraded }
        };
        pools.enumerate().map(stage).collect()
    }

    /// The backend of the routes that carry no model's name: the first that is well, or else the first that may be asked.
    pub fn for_passed(&self) -> Option<usize> {
        let mut welcome: Vec<_> = self.members.iter().filter(|member| member.is_welcome()).collect();
        welcome.sort_by_key(|member| member.config.tier);
        let well = welcome.iter().find(|member| member.can_be_asked());
        well.or_else(|| welcome.first()).map(|member| member.index)
    }

    /// How long an answer may take where no model is named.
    pub fn whole_deadline(&self) -> Duration {
        Duration::from_millis(self.room.whole_timeout_ms.get())
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.name() == name)
    }

    /// Follows an operator's order.
    pub fn obey(&self, member: &Arc<Member>, order: Override) {
        let before = member.obey(order);
        if before == order && order != Override::Auto {
            return;
        }
        tracing::warn!(backend = member.name(), from = before.name(), to = order.name(), "the operator has decided");
        if order == Override::Auto {
            let now = tokio::time::Instant::now();
            for lane in member.lanes() {
                lane.known.cooling.forget();
                lane.tell(lane.gate.reset(now), &self.meters);
            }
        }
    }

    /// The backend of this place, if it is one of these.
    pub fn at(&self, index: usize) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.index == index)
    }

    /// Backends that may not be asked now, and how many there are.
    pub fn down(&self) -> (usize, usize) {
        let up = self.members.iter().filter(|member| member.is_welcome() && member.can_be_asked()).count();
        (self.members.len() - up, self.members.len())
    }

    /// Requests that wait for a backend, or for any: here, and in its engine.
    pub fn waiting(&self, backend: Option<&str>) -> u64 {
        let meant = |name: &str| backend.is_none_or(|backend| backend == name);
        let here = self.members.iter().filter(|member| meant(member.name()));
        let here = here.map(|member| member.admission.report().queued.sum());
        let there = self.engines().filter(|(name, _)| meant(name)).map(|(_, engine)| engine.waiting);
        here.sum::<u64>() + there.sum::<u64>()
    }

    /// What each backend's engine last said of itself.
    pub fn engines(&self) -> impl Iterator<Item = (&str, Engine)> {
        self.members.iter().filter_map(|member| {
            let engine = *member.engine.lock().unwrap_or_else(PoisonError::into_inner);
            Some((member.name(), engine?.0))
        })
    }

    /// What is done every second.
    pub fn tick(&self) {
        let many = self.plans.len() > MOST_PLANS / 2;
        self.plans.retain(|_, plan| {
            let used = plan.used.swap(false, Ordering::Relaxed);
            if used {
                plan.learn();
            }
            used || !many
        });
        if many {
            self.members.iter().for_each(|member| member.forget_idle_lanes());
        }
    }
}
