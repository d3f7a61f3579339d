//! Who waits for room: the higher priority first, and among equals who came first.

use std::collections::VecDeque;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Shed, Slot};

/// Who goes first where not everybody can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];
}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Priority, UnknownPriority> {
        match text {
            "low" => Ok(Priority::Low),
            "normal" => Ok(Priority::Normal),
            "high" => Ok(Priority::High),
            _ => Err(UnknownPriority),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a priority is low, normal or high")]
pub struct UnknownPriority;

/// How a waiter learns what became of it.
pub type Answer = oneshot::Sender<Result<Slot, Shed>>;

pub struct Waiter {
    pub id: u64,
    pub units: u64,
    pub deadline: Instant,
    pub answer: Answer,
}

#[derive(Default)]
pub struct Queue {
    lines: [VecDeque<Waiter>; 3],
}

impl Queue {
    pub fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    pub fn lengths(&self) -> [usize; 3] {
        self.lines.each_ref().map(VecDeque::len)
    }

    pub fn push(&mut self, priority: Priority, waiter: Waiter) {
        self.lines[priority as usize].push_back(waiter);
    }

    /// Whoever goes before a newcomer of this priority.
    pub fn ahead(&self, priority: Priority) -> impl Iterator<Item = &Waiter> {
        self.lines[priority as usize..].iter().flatten()
    }

    /// Whose turn it is.
    pub fn first(&self) -> Option<&Waiter> {
        self.lines.iter().rev().find_map(VecDeque::front)
    }

    pub fn take_first(&mut self) -> Option<Waiter> {
        self.lines.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// The one of a lower priority who came last, of the lowest there is.
    pub fn last_below(&self, priority: Priority) -> Option<(Priority, &Waiter)> {
        let lower = Priority::ALL.into_iter().take_while(|lower| *lower < priority);
        lower.filter_map(|lower| Some((lower, self.lines[lower as usize].back()?))).next()
    }

    pub fn take_last_of(&mut self, priority: Priority) -> Option<Waiter> {
        self.lines[priority as usize].pop_back()
    }

    /// Takes out who waits no longer; none where its turn has come already.
    pub fn remove(&mut self, priority: Priority, id: u64) -> Option<Waiter> {
        let line = &mut self.lines[priority as usize];
        // Numbers rise along a line.
        let place = line.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
        line.remove(place)
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Waiter> {
        self.lines.iter_mut().flat_map(|line| line.drain(..))
    }
}
