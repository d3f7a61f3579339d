//! Finds a request a backend that is well and has room, waiting for one if need be.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::admission::{Shed, Slot, Why};
use super::affinity::{Affinity, Blocks};
use super::fleet::Fleet;
use super::lane::{Obstacle, Ticket};
use super::pool::{Degraded, Plan, Pool, Seat};
use super::wishes::Wishes;
use crate::Ask;

/// A backend, and the right to ask it.
pub struct Chosen {
    pub seat: Seat,
    pub ticket: Ticket,
    pub slot: Slot,
    pub degraded: Option<Degraded>,
}

/// Why there is none.
#[derive(Debug)]
pub enum Nowhere {
    /// All are left alone.
    Shut(Option<Obstacle>),
    /// All have too much to do.
    Full(Shed),
}

/// A request that looks for a backend.
pub struct Seeker<'ask> {
    pub fleet: &'ask Fleet,
    pub plan: &'ask Arc<Plan>,
    pub ask: &'ask Ask,
    pub wishes: &'ask Wishes,
    /// By when an answer must have begun.
    pub until: Option<Instant>,
}

impl Seeker<'_> {
    /// The first backend, in the order of the plan, that can take it; none of those left out.
    pub async fn find(&self, without: &[usize]) -> Result<Chosen, Nowhere> {
        let (mut shut, mut full) = (None, None);
        for stage in &self.plan.stages {
            match self.within(&stage.pool, without).await {
                Ok((seat, ticket, slot)) => return Ok(Chosen { seat, ticket, slot, degraded: stage.degraded }),
                Err(Nowhere::Full(shed)) => {
                    full.get_or_insert(shed);
                }
                Err(Nowhere::Shut(obstacle)) => {
                    let sooner = |obstacle: &Obstacle| (obstacle.until().is_none(), obstacle.until());
                    shut = shut.into_iter().chain(obstacle).min_by_key(sooner);
                }
            }
        }
        Err(full.map_or(Nowhere::Shut(shut), Nowhere::Full))
    }

    /// A backend of those that are meant, if one can take it at once.
    pub fn find_now(&self, without: &[usize]) -> Option<Chosen> {
        let stage = self.plan.stages.first().filter(|stage| stage.degraded.is_none())?;
        let usable = stage.pool.usable(&self.ask.tenant, without, Instant::now());
        let (place, slot) = self.room_now(&stage.pool, &usable)?;
        let seat = &stage.pool.seats[place];
        let ticket = Ticket::take(&seat.lane, &stage.pool, &self.fleet.meters).ok()?;
        Some(Chosen { seat: seat.clone(), ticket, slot, degraded: None })
    }

    async fn within(&self, pool: &Arc<Pool>, without: &[usize]) -> Result<(Seat, Ticket, Slot), Nowhere> {
        loop {
            let usable = pool.usable(&self.ask.tenant, without, Instant::now());
            if usable.is_empty() {
                let obstacle = pool.obstacle(&self.ask.tenant, Instant::now());
                if obstacle.is_none() && without.is_empty() {
                    // One has just become free.
                    continue;
                }
                return Err(Nowhere::Shut(obstacle));
            }
            let Some((place, slot)) = self.room(pool, &usable).await? else { continue };
            let seat = &pool.seats[place];
            // A probe's place, or the breaker itself, may have gone meanwhile.
            if let Ok(ticket) = Ticket::take(&seat.lane, pool, &self.fleet.meters) {
                return Ok((seat.clone(), ticket, slot));
            }
        }
    }

    /// Room at one of these; none where they are to be looked at again.
    async fn room(&self, pool: &Pool, usable: &[usize]) -> Result<Option<(usize, Slot)>, Nowhere> {
        if let Some(found) = self.room_now(pool, usable) {
            return Ok(Some(found));
        }
        let wait = |place: &usize| pool.seats[*place].lane.member.admission.expected_wait();
        let Some(place) = usable.iter().copied().min_by_key(wait) else { return Ok(None) };
        let admission = &pool.seats[place].lane.member.admission;
        match admission.enter(self.units(), self.wishes.priority, self.until).await {
            Ok(slot) => Ok(Some((place, slot))),
            Err(Shed { why: Why::Moved, .. }) => Ok(None),
            Err(shed) => Err(Nowhere::Full(shed)),
        }
    }

    /// Room at one of these, if there is any: at those that are to be spared only where no other has any.
    fn room_now(&self, pool: &Pool, usable: &[usize]) -> Option<(usize, Slot)> {
        let now = Instant::now();
        let spared = |place: &usize| pool.seats[*place].lane.member.is_spared(now);
        if !usable.iter().any(spared) {
            return self.room_among(pool, usable);
        }
        let (spared, calm): (Vec<_>, Vec<_>) = usable.iter().partition(|place| spared(place));
        self.room_among(pool, &calm).or_else(|| self.room_among(pool, &spared))
    }

    fn room_among(&self, pool: &Pool, usable: &[usize]) -> Option<(usize, Slot)> {
        let mut left = Cow::Borrowed(usable);
        let known = OnceCell::new();
        let key = |affinity: &Affinity| *known.get_or_init(|| affinity.key(&Blocks::of(self.ask)));
        while let Some(place) = pool.choose(self.plan.terms.balance, &left, key) {
            let admission = &pool.seats[place].lane.member.admission;
            if let Some(slot) = admission.try_enter(self.units(), self.wishes.priority) {
                return Some((place, slot));
            }
            left.to_mut().retain(|other| *other != place);
        }
        None
    }

    /// The tokens that it will take up, where those are counted.
    fn units(&self) -> u64 {
        // Four bytes a token, as OpenAI's guide says; the engine's own count trims the error.
        let input = self.ask.body.len() as u64 / 4;
        let output = self.ask.question.max_tokens.unwrap_or(EXPECTED_OUTPUT);
        input.saturating_add(output.saturating_mul(self.ask.question.choices.unwrap_or(1).max(1)))
    }
}

/// Assumed of an answer that nobody has bounded.
const EXPECTED_OUTPUT: u64 = 512;

/// Until an obstacle is over, as far as anybody can say.
pub fn remaining(obstacle: Option<Obstacle>, otherwise: Duration) -> Duration {
    let until = obstacle.and_then(Obstacle::until);
    until.map_or(otherwise, |until| until.saturating_duration_since(Instant::now()))
}
