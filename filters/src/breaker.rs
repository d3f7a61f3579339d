//! A backend that fails, stalls or drowns is left alone until it has recovered; who asks gets a fast clear answer, or
//! another backend's.
//!
//! For each request the room finds a backend that is well and has room ([`choice`]), asks it, repeats the call elsewhere
//! where that helps and the budget pays for it ([`attempts`]), and judges the backend by how its answer ends
//! ([`watching`]). It stands below the cache, so that what is known is known in an outage too, and above what counts and
//! measures, so that every call that is made is counted and measured.

pub mod admission;
pub mod affinity;
mod attempts;
mod background;
mod budget;
mod choice;
pub mod config;
mod cooling;
mod demand;
pub mod engine;
mod first_tokens;
mod fleet;
mod gate;
pub mod handover;
mod lane;
mod member;
mod meters;
mod pool;
mod pressure;
mod renewal;
mod report;
mod verdict;
mod watching;
mod window;
pub mod wishes;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use crate::{Ask, Filter, Next, Refusal, Reply};
use attempts::Attempts;
pub use background::Reach;
pub use config::{Backend, Config};
pub use demand::Demand;
pub use fleet::Fleet;
pub use member::{Member, Override};
pub use pressure::Pressure;
use wishes::Wishes;

pub struct Breaker(Arc<Fleet>);

impl Breaker {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Breaker(fleet)
    }
}

#[async_trait]
impl Filter for Breaker {
    fn name(&self) -> &'static str {
        "breaker"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        let wishes = Wishes::of(ask.steering())?;
        let plan = self.0.plan(ask.question.model.as_deref())?;
        plan.used.store(true, Ordering::Relaxed);
        Attempts::new(&self.0, plan, ask, wishes, next).run().await
    }
}

#[cfg(test)]
mod tests;
