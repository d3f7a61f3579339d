//! The scopes that are in use here: their hints are read once, and their news are listened to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::semantic_cache::entry::Scope;

/// More scopes than these and the half that was used longest ago is let go: to be read anew when used again.
const MOST: usize = 10_000;

pub(in super::super) struct Entered {
    seen: Mutex<Seen>,
    wanted: mpsc::Sender<Scope>,
}

#[derive(Default)]
struct Seen {
    scopes: HashMap<Scope, State>,
    /// Counts the uses.
    uses: u64,
}

struct State {
    since: Instant,
    used: u64,
    loaded: watch::Sender<bool>,
}

impl Entered {
    /// The scopes to be loaded come out of the other end.
    pub(in super::super) fn new() -> (Self, mpsc::Receiver<Scope>) {
        let (wanted, requests) = mpsc::channel(MOST);
        (Entered { seen: Mutex::default(), wanted }, requests)
    }

    pub(in super::super) fn has(&self, scope: &Scope) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).scopes.contains_key(scope)
    }

    /// Waits until the scope is loaded, `wait` at most since it was first asked for.
    pub(in super::super) async fn enter(&self, scope: &Scope, wait: Option<Duration>) {
        let (since, mut loaded) = self.note(scope);
        if let Some(wait) = wait
            && !*loaded.borrow()
        {
            let _ = tokio::time::timeout_at(since + wait, loaded.wait_for(|loaded| *loaded)).await;
        }
    }

    fn note(&self, scope: &Scope) -> (Instant, watch::Receiver<bool>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.uses += 1;
        let used = seen.uses;
        if let Some(state) = seen.scopes.get_mut(scope) {
            state.used = used;
            return (state.since, state.loaded.subscribe());
        }
        if seen.scopes.len() >= MOST {
            let mut uses: Vec<u64> = seen.scopes.values().map(|state| state.used).collect();
            uses.sort_unstable();
            let middle = uses[uses.len() / 2];
            seen.scopes.retain(|_, state| state.used > middle);
        }
        let state = State { since: Instant::now(), used, loaded: watch::Sender::new(false) };
        let noted = (state.since, state.loaded.subscribe());
        // Where the queue is full it is wanted again with the next use.
        if self.wanted.try_send(*scope).is_ok() {
            seen.scopes.insert(*scope, state);
        }
        noted
    }

    /// All of them are to be loaded again.
    pub(in super::super) fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.scopes.retain(|scope, _| self.wanted.try_send(*scope).is_ok());
    }

    pub(in super::super) fn loaded(&self, scope: &Scope) {
        if let Some(state) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).scopes.get(scope) {
            state.loaded.send_replace(true);
        }
    }

    /// It could not be loaded: the next use tries again.
    pub(in super::super) fn failed(&self, scope: &Scope) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).scopes.remove(scope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(number: usize) -> Scope {
        Scope(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_use_waits_for_the_load_and_no_longer_than_it_may() {
        let (entered, mut wanted) = Entered::new();
        let begun = Instant::now();
        entered.enter(&scope(1), Some(Duration::from_millis(200))).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(200), "nobody loads");
        assert_eq!(wanted.try_recv(), Ok(scope(1)));
        entered.enter(&scope(1), Some(Duration::from_millis(200))).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(200), "the time is over for later ones, too");
        entered.enter(&scope(2), None).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(200), "with Redis away nobody waits");
        let loading = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            entered.loaded(&scope(3));
        };
        let third = scope(3);
        tokio::join!(entered.enter(&third, Some(Duration::from_millis(200))), loading);
        assert_eq!(begun.elapsed(), Duration::from_millis(250), "as long as it took");
    }

    #[tokio::test]
    async fn scopes_of_long_ago_make_room() {
        let (entered, mut wanted) = Entered::new();
        for number in 0..MOST + 1 {
            entered.enter(&scope(number), None).await;
            let _ = wanted.try_recv();
        }
        assert!(!entered.has(&scope(0)), "used longest ago");
        assert!(entered.has(&scope(MOST)) && entered.has(&scope(MOST - 1)));
        entered.failed(&scope(MOST));
        assert!(!entered.has(&scope(MOST)), "the next use tries again");
    }
}
