//! The same fleet under newer settings: backends that stay where they are keep all that is known of them.
//!
//! A backend is known by its name and its address. Breakers, pauses, admission, times and what is in flight are its own; rules,
//! weights, models and tiers are the settings'. A request keeps to the fleet that it began with, so one that is at a
//! backend which is no more goes on to its end there.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::time::Instant;

use super::config::{Backend, Config};
use super::fleet::{Fleet, MOST_PLANS};
use super::member::Member;
use super::pool::Learned;

impl Fleet {
    /// What this one becomes under these settings; each backend with its place. Nothing has changed yet: see
    /// [`Fleet::take_over`].
    pub fn renewed(&self, room: &Config, backends: &[(usize, Backend)]) -> Arc<Self> {
        let room = Arc::new(room.clone());
        let member = |(index, config): &(usize, Backend)| match self.at(*index) {
            Some(known) => Arc::new(known.renewed(config, &room)),
            None => Arc::new(Member::new(*index, config, &room)),
        };
        Arc::new(Fleet {
            members: backends.iter().map(member).collect(),
            budget: self.budget.renewed(room.retry_share.get(), room.min_retries_per_sec),
            meters: self.meters.clone(),
            plans: DashMap::new(),
            learned: self.all_learned(),
            ejections: self.ejections.clone(),
            newest: self.newest.clone(),
            changed: self.changed.clone(),
            room,
        })
    }

    /// What is known of models that somebody asks for, and of those that nobody has asked for since the last time.
    fn all_learned(&self) -> HashMap<Box<str>, Learned> {
        let now = self.plans.iter().map(|plan| (plan.key().clone(), plan.learned()));
        let mut learned: HashMap<_, _> = now.take(MOST_PLANS).collect();
        for (model, before) in &self.learned {
            if learned.len() < MOST_PLANS {
                learned.entry(model.clone()).or_insert_with(|| before.clone());
            }
        }
        learned
    }

    /// From now on this one holds.
    pub fn take_over(self: &Arc<Self>) {
        let (before, now) = (self.newest.get(), Instant::now());
        self.newest.set(self);
        for member in &self.members {
            let known = before.as_ref().and_then(|before| before.at(member.index).map(|known| (before, known)));
            if let Some((before, known)) = known.filter(|(_, known)| Arc::ptr_eq(&known.core, &member.core)) {
                member.take_over(&before.room, known.config.kv_tokens);
            }
            member.lanes().iter().for_each(|lane| lane.gate.refit(now));
        }
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests;
