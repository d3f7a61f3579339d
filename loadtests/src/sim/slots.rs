//! How many generations run at once; the others wait for their turn, who came first goes first.
//!
//! This is what a real server's batch is: beyond it, a request waits before its first token and not between tokens.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

pub struct Slots {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// 0 is no bound.
    count: u64,
    running: u64,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

/// What the metrics tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    pub count: u64,
    pub running: u64,
    pub waiting: u64,
}

impl Slots {
    pub fn new(count: u64) -> Arc<Slots> {
        Arc::new(Slots { state: Mutex::new(State { count, ..State::default() }) })
    }

    /// From now on so many run at once; those that run already go on.
    pub fn resize(self: &Arc<Slots>, count: u64) {
        self.state().count = count;
        self.call();
    }

    pub fn occupied(&self) -> Occupied {
        let state = self.state();
        let waiting = state.waiting.iter().filter(|waiter| !waiter.is_closed()).count() as u64;
        Occupied { count: state.count, running: state.running, waiting }
    }

    /// Takes a place in the line.
    pub fn queue(self: &Arc<Slots>) -> Turn {
        let mut state = self.state();
        if state.waiting.is_empty() && state.has_room() {
            state.running += 1;
            return Turn::Running(self.permit());
        }
        let (call, called) = oneshot::channel();
        state.waiting.push_back(call);
        Turn::Waiting(called)
    }

    fn permit(self: &Arc<Slots>) -> Permit {
        Permit { slots: Arc::clone(self) }
    }

    /// Calls those for whom there is room now.
    fn call(self: &Arc<Slots>) {
        while let Some(next) = self.state().next() {
            // Who has left drops the permit, and that calls the next.
            drop(next.send(self.permit()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.count == 0 || self.running < self.count
    }

    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        // Without this, a crowd that has left would be called one within the other.
        while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiting.pop_front();
        }
        let next = if self.has_room() { self.waiting.pop_front() } else { None };
        self.running += u64::from(next.is_some());
        next
    }
}

/// A slot; dropped, it is the next one's.
pub struct Permit {
    slots: Arc<Slots>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slots.state().running -= 1;
        self.slots.call();
    }
}

/// A place in the line, and then a slot.
pub enum Turn {
    Waiting(oneshot::Receiver<Permit>),
    Running(Permit),
}

impl Turn {
    pub fn has_come(&self) -> bool {
        matches!(self, Turn::Running(_))
    }

    /// Ready once it runs.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Turn::Waiting(called) = self else { return Poll::Ready(()) };
        match Pin::new(called).poll(context) {
            Poll::Ready(Ok(permit)) => {
                *self = Turn::Running(permit);
                Poll::Ready(())
            }
            // Whoever calls lives as long as the simulator does.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(turn: &mut Turn) -> bool {
        turn.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn who_came_first_goes_first_and_who_left_is_passed_over() {
        let slots = Slots::new(2);
        let mut turns: Vec<Turn> = (0..5).map(|_| slots.queue()).collect();
        assert_eq!(slots.occupied(), Occupied { count: 2, running: 2, waiting: 3 });
        drop(turns.remove(2));
        drop(turns.remove(0));
        let run: Vec<bool> = turns.iter_mut().map(runs).collect();
        assert_eq!(run, [true, true, false], "the third has left, so the fourth runs");
        slots.resize(0);
        assert!(runs(&mut turns[2]), "without a bound everybody runs");
        drop(turns);
        assert_eq!(slots.occupied(), Occupied { count: 0, running: 0, waiting: 0 });
    }

    #[test]
    fn one_that_was_called_and_has_left_frees_its_slot() {
        let slots = Slots::new(1);
        let (first, second, mut third) = (slots.queue(), slots.queue(), slots.queue());
        drop(first);
        drop(second);
        assert!(runs(&mut third));
    }
}
