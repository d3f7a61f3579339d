//! Admission to one backend: as much in flight as it answers promptly, a short queue before it, and a refusal at once for
//! whoever would wait in vain.
//!
//! - The limit follows the time to the first token ([`limit`]), because the whole of an answer takes as long as it is.
//! - Who does not fit waits in a bounded queue ([`queue`]), the higher priority first.
//! - Who would wait for too long is refused on arrival ([`pace`]): an overload must cost a client microseconds, and
//!   not the wait and then the refusal.
//! - What is let in holds a [`Slot`]. Dropped, however that comes about, it frees its place and hands it on. A waiter is
//!   handed a whole slot and no mere wake-up, so that one that has left meanwhile gives it back by dropping it.

mod base;
mod config;
mod limit;
mod pace;
mod queue;
mod report;
mod room;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub use base::class;
pub use config::{Config, Tolerance};
use queue::Answer;
pub use queue::{Priority, UnknownPriority};
pub use report::{Queued, Report, Sheds, Unit, Why};
pub use room::Learned;
use room::{Entry, Kind, Room, Turns};

/// Admission to one backend.
pub struct Admission {
    room: Mutex<Room>,
}

/// Not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not let in: {why}")]
pub struct Shed {
    pub why: Why,
    /// When there will be room, as far as one can tell.
    pub retry_after: Duration,
}

impl Admission {
    #[must_use]
    pub fn new(config: Config) -> Arc<Admission> {
        Arc::new(Admission { room: Mutex::new(Room::new(config, Instant::now())) })
    }

    /// What was learned, for another process.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.room().learned()
    }

    /// Goes on with what another process has learned.
    pub fn resume(&self, learned: &Learned) {
        self.room().resume(learned, Instant::now());
    }

    /// Lets in who fits now, unless somebody of the same or a higher priority waits. `units` are the tokens that the
    /// request may take, of its prompt and of its answer; where no capacity is known every request counts for one.
    pub fn try_enter(self: &Arc<Self>, units: u64, priority: Priority) -> Option<Slot> {
        let entry = self.room().enter(units, priority, Instant::now())?;
        Some(self.slot(entry))
    }

    /// Waits for room: at most for the queue's timeout, and not beyond `until`. Dropped, it leaves the queue.
    pub async fn enter(self: &Arc<Self>, units: u64, priority: Priority, until: Option<Instant>) -> Result<Slot, Shed> {
        let now = Instant::now();
        let (mut waiting, deadline) = {
            let mut room = self.room();
            if let Some(entry) = room.enter(units, priority, now) {
                drop(room);
                return Ok(self.slot(entry));
            }
            let patience = now + room.config.queue_timeout();
            let deadline = until.map_or(patience, |until| until.min(patience));
            let (answer, told) = oneshot::channel();
            let (id, gone) = room.wait(units, priority, deadline, answer, now)?;
            drop(room);
            refuse(gone);
            (Waiting { admission: self, priority, id, units, told }, deadline)
        };
        if let Ok(Ok(told)) = timeout_at(deadline, &mut waiting.told).await {
            return told;
        }
        waiting.expire().await
    }

    /// How long a usual request would wait if it came now.
    #[must_use]
    pub fn expected_wait(&self) -> Duration {
        self.room().expected_wait(Instant::now())
    }

    /// The backend is out: whoever waits for it is told so at once.
    pub fn turn_away(&self) {
        let gone = self.room().turn_away(Instant::now());
        refuse(gone);
    }

    /// How many tokens the backend has room for, where that is known; from then on tokens are counted.
    pub fn set_capacity(self: &Arc<Self>, tokens: Option<u64>) {
        let turns = self.room().set_capacity(tokens, Instant::now());
        self.tell(turns);
    }

    /// Other settings from now on.
    pub fn renew(self: &Arc<Self>, config: Config) {
        let turns = self.room().renew(config, Instant::now());
        self.tell(turns);
    }

    #[must_use]
    pub fn report(&self) -> Report {
        let room = self.room();
        let expected_wait = room.expected_wait(Instant::now());
        Report::of(&room, expected_wait)
    }

    fn slot(self: &Arc<Self>, entry: Entry) -> Slot {
        Slot { admission: Arc::clone(self), entry }
    }

    /// Hands over their slots, without the lock: who is gone drops what it is sent, and that takes the lock again.
    fn tell(self: &Arc<Self>, turns: Turns) {
        turns.into_iter().for_each(|(answer, entry)| drop(answer.send(Ok(self.slot(entry)))));
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        // Nothing under this lock can panic halfway through a change.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those who have to go.
fn refuse(gone: Vec<(Answer, Shed)>) {
    gone.into_iter().for_each(|(answer, shed)| drop(answer.send(Err(shed))));
}

/// A place at the backend. Dropped, it is free again, and whoever's turn it is has it.
pub struct Slot {
    admission: Arc<Admission>,
    entry: Entry,
}

impl Slot {
    /// The first token of a stream came, so long after the request was sent, to a prompt of this [`class`].
    pub fn first_token(&mut self, took: Duration, class: u8) {
        if std::mem::replace(&mut self.entry.told, true) {
            return;
        }
        self.entry.runs = true;
        let turns = {
            let mut room = self.admission.room();
            room.run(self.entry.units);
            room.learn(&self.entry, Kind::FirstToken, class, took, Instant::now())
        };
        self.admission.tell(turns);
    }

    /// A plain answer is complete. Of a stream, whose first token has told all, this says nothing more.
    pub fn finished(&mut self, took: Duration, output_bytes: u64) {
        if std::mem::replace(&mut self.entry.told, true) {
            return;
        }
        // An answer takes as long as it is, so it is held against those of its own length only.
        let class = class(output_bytes);
        let turns = self.admission.room().learn(&self.entry, Kind::Whole, class, took, Instant::now());
        self.admission.tell(turns);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let turns = self.admission.room().leave(&self.entry, Instant::now());
        self.admission.tell(turns);
    }
}

/// A place in the queue.
struct Waiting<'a> {
    admission: &'a Arc<Admission>,
    priority: Priority,
    id: u64,
    units: u64,
    told: oneshot::Receiver<Result<Slot, Shed>>,
}

impl Waiting<'_> {
    /// The time is up. Where the answer is on its way already, it counts.
    async fn expire(mut self) -> Result<Slot, Shed> {
        let now = Instant::now();
        let (shed, turns) = {
            let mut room = self.admission.room();
            let (left, turns) = room.give_up(self.priority, self.id, now);
            (left.map(|_| room.shed(Why::Expired, self.units, self.priority, now)), turns)
        };
        self.admission.tell(turns);
        let moved = Shed { why: Why::Moved, retry_after: Duration::ZERO };
        match shed {
            Some(shed) => Err(shed),
            // Whoever took it out of the queue tells it next.
            None => (&mut self.told).await.unwrap_or(Err(moved)),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // A slot that was sent and not taken drops with the channel, and is free again by that.
        let (_, turns) = self.admission.room().give_up(self.priority, self.id, Instant::now());
        self.admission.tell(turns);
    }
}
