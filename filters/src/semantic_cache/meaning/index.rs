//! What has been kept, by scope and meaning. A search sees one scope and no other, what is removed is gone at once,
//! and there are never more than `max_entries` in all: the oldest leave first.
//!
//! Searches of one scope read side by side; a change waits for those that run, at most a millisecond.

mod order;
mod plane;
mod shelf;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;

use super::vector::Vector;
use crate::semantic_cache::entry::{Date, Id, Scope};
use order::Order;
use shelf::Shelf;

/// One kept question.
pub struct Card {
    pub id: Id,
    pub text: Box<str>,
    pub until: Date,
    pub vector: Vector,
    /// By the static model, where there is one.
    pub gate: Option<Vector>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: Id,
    pub text: Box<str>,
    pub cosine: f32,
}

pub struct Index {
    max_entries: usize,
    shelves: DashMap<Scope, Arc<RwLock<Shelf>>>,
    order: Mutex<Order>,
    entries: AtomicUsize,
}

impl Index {
    pub fn new(max_entries: usize) -> Self {
        let order = Mutex::new(Order::default());
        Index { max_entries: max_entries.max(1), shelves: DashMap::new(), order, entries: AtomicUsize::new(0) }
    }

    pub fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    pub fn scopes(&self) -> usize {
        self.shelves.len()
    }

    pub fn bytes(&self) -> usize {
        let shelves: usize = self.shelves.iter().map(|shelf| read(shelf.value()).bytes()).sum();
        shelves + lock(&self.order).bytes()
    }

    pub fn len_of(&self, scope: &Scope) -> usize {
        self.shelf(scope).map_or(0, |shelf| read(&shelf).len())
    }

    pub fn insert(&self, scope: &Scope, card: Card) {
        let id = card.id;
        let number = lock(&self.order).push(*scope, id);
        loop {
            let shelf = self.shelves.entry(*scope).or_default().value().clone();
            let mut shelf = write(&shelf);
            if shelf.gone {
                continue;
            }
            let before = shelf.len();
            shelf.insert(card, number);
            self.entries.fetch_add(shelf.len() - before, Relaxed);
            break;
        }
        self.shrink();
    }

    pub fn remove(&self, scope: &Scope, id: &Id) {
        self.remove_if(scope, id, |_| true);
    }

    /// The nearest, best first. Those whose time is over do not count.
    pub fn nearest(&self, scope: &Scope, vector: &Vector, most: usize, now: Date) -> Vec<Found> {
        self.shelf(scope).map_or_else(Vec::new, |shelf| read(&shelf).nearest(vector, most, now))
    }

    pub fn nearest_gate(&self, scope: &Scope, vector: &Vector) -> Option<f32> {
        self.shelf(scope).and_then(|shelf| read(&shelf).nearest_gate(vector))
    }

    /// The lock of the map is let go before the shelf's is asked for: a long search holds up nobody else's scope.
    fn shelf(&self, scope: &Scope) -> Option<Arc<RwLock<Shelf>>> {
        self.shelves.get(scope).map(|shelf| shelf.value().clone())
    }

    fn shrink(&self) {
        while self.len() > self.max_entries {
            let Some((scope, id, number)) = lock(&self.order).pop() else { return };
            // One that was put in again since is not the oldest any more.
            self.remove_if(&scope, &id, |current| current == number);
        }
        let mut order = lock(&self.order);
        if order.is_mostly_stale(self.len()) {
            order.retain(|scope, id, number| {
                self.shelf(scope).is_some_and(|shelf| read(&shelf).number(id) == Some(number))
            });
        }
    }

    fn remove_if(&self, scope: &Scope, id: &Id, is_meant: impl Fn(u64) -> bool) {
        let Some(shelf) = self.shelf(scope) else { return };
        let mut open = write(&shelf);
        if open.number(id).is_some_and(is_meant) && open.remove(id) {
            self.entries.fetch_sub(1, Relaxed);
        }
        if open.len() == 0 && !open.gone {
            open.gone = true;
            drop(open);
            self.shelves.remove_if(scope, |_, current| Arc::ptr_eq(current, &shelf));
        }
    }
}

/// A panic while one of these was held leaves columns that are whole, for each change is made of moves that cannot
/// panic half-way; so the lock goes on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(shelf: &RwLock<Shelf>) -> RwLockReadGuard<'_, Shelf> {
    shelf.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shelf: &RwLock<Shelf>) -> RwLockWriteGuard<'_, Shelf> {
    shelf.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
