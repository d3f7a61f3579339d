//! In which order entries came, so that the oldest can leave first.

use std::collections::VecDeque;

use crate::semantic_cache::entry::{Id, Scope};

/// What has been removed since stays here until it is met, or until it is more than what is left.
#[derive(Default)]
pub struct Order {
    next: u64,
    came: VecDeque<(Scope, Id, u64)>,
}

impl Order {
    /// Its number. No two are alike.
    pub fn push(&mut self, scope: Scope, id: Id) -> u64 {
        self.next += 1;
        self.came.push_back((scope, id, self.next));
        self.next
    }

    pub fn pop(&mut self) -> Option<(Scope, Id, u64)> {
        self.came.pop_front()
    }

    pub fn is_mostly_stale(&self, living: usize) -> bool {
        self.came.len() > living * 2 + 1_024
    }

    pub fn retain(&mut self, lives: impl Fn(&Scope, &Id, u64) -> bool) {
        self.came.retain(|(scope, id, number)| lives(scope, id, *number));
        self.came.shrink_to(self.came.len() * 2);
    }

    pub fn bytes(&self) -> usize {
        self.came.capacity() * size_of::<(Scope, Id, u64)>()
    }
}
