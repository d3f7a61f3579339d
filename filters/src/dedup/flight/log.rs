//! What a flight has said so far, and who has read how much of it.
//!
//! One lock holds the events and the readers' wakers, so that nobody can look, find nothing, and miss
//! the change that comes before it has gone to sleep. No message is ever lost to a reader that lags:
//! it is let go on purpose, with an error, or the backend waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use slab::Slab;

use crate::Refusal;
use crate::charge::{Charge, Charged};
use crate::reply::{Batch, Broken, Event, Timing};

#[derive(Clone)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub timing: Timing,
    pub whole: Option<Bytes>,
    pub charge: Option<Charge>,
}

pub struct Log {
    state: Mutex<State>,
    max_bytes: usize,
    /// Whether the log has ever been full: only then does anybody ask how far the readers are.
    full: AtomicBool,
}

#[derive(Default)]
struct State {
    head: Option<Result<Head, Refusal>>,
    events: VecDeque<Event>,
    /// How many events were let go before the first that is kept.
    base: usize,
    bytes: usize,
    end: Option<Result<(), Broken>>,
    readers: Slab<Slot>,
    /// Who has ever read it.
    entered: u64,
    /// The pilot, when it waits for room.
    pilot: Option<Waker>,
}

#[derive(Default)]
struct Slot {
    /// The first event that this reader has not handed on.
    position: usize,
    waker: Option<Waker>,
}

/// A reader's place.
pub struct Place {
    slot: usize,
    next: usize,
}

/// Events that a reader takes at once: it holds no more than these back from being let go.
const BATCH: usize = 64;

impl State {
    fn len(&self) -> usize {
        self.base + self.events.len()
    }

    fn let_go_to(&mut self, index: usize) {
        while self.base < index
            && let Some(event) = self.events.pop_front()
        {
            self.bytes -= event.bytes.len();
            self.base += 1;
        }
    }

    fn slowest_and_fastest(&self) -> Option<(usize, usize)> {
        self.readers.iter().map(|(_, slot)| slot.position).fold(None, |range, at| match range {
            None => Some((at, at)),
            Some((low, high)) => Some((low.min(at), high.max(at))),
        })
    }
}

impl Log {
    pub fn new(max_bytes: usize) -> Self {
        Log { state: Mutex::default(), max_bytes, full: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the log and wakes those who wait for that.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let wakers: Vec<Waker> = state.readers.iter_mut().filter_map(|(_, slot)| slot.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub fn begin(&self, head: Result<Head, Refusal>) {
        // Without waking anybody: the first events or the end follow at once.
        self.state().head = Some(head);
    }

    /// Whether the log is full now.
    pub fn append(&self, batch: Batch) -> bool {
        self.change(|state| {
            state.bytes += batch.iter().map(|event| event.bytes.len()).sum::<usize>();
            state.events.extend(batch);
            state.bytes > self.max_bytes
        })
    }

    /// The first end counts.
    pub fn end(&self, end: Result<(), Broken>) {
        self.change(|state| state.end.get_or_insert(end).is_ok());
    }

    /// What all have read goes. If that is not enough, the readers that lag behind the fastest lose
    /// what they have not read; if even the fastest lags, the backend waits.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        self.full.store(true, Ordering::Release);
        let mut state = self.state();
        let length = state.len();
        let (slowest, fastest) = state.slowest_and_fastest().unwrap_or((length, length));
        state.let_go_to(slowest);
        if state.bytes > self.max_bytes && fastest < length {
            state.pilot = Some(context.waker().clone());
            return Poll::Pending;
        }
        while state.bytes > self.max_bytes && state.base < length {
            let next = state.base + 1;
            state.let_go_to(next);
        }
        Poll::Ready(())
    }

    pub fn enter(&self) -> Place {
        let mut state = self.state();
        state.entered += 1;
        Place { slot: state.readers.insert(Slot::default()), next: 0 }
    }

    /// How many have joined whoever opened the flight.
    pub fn followers(&self) -> u64 {
        self.state().entered.saturating_sub(1)
    }

    fn charge(&self) -> Option<Charge> {
        self.state().head.as_ref()?.as_ref().ok()?.charge.clone()
    }

    /// Calls back with what it cost, once that is known.
    pub fn when_charged(&self, told: impl FnOnce(&Charged) + Send + 'static) {
        if let Some(charge) = self.charge() {
            charge.when_known(told);
        }
    }

    pub fn leave(&self, place: &Place) {
        let pilot = {
            let mut state = self.state();
            state.readers.try_remove(place.slot);
            state.pilot.take()
        };
        pilot.into_iter().for_each(Waker::wake);
    }

    /// What a reader was given, it has handed on: it asks for more.
    pub fn has_read(&self, place: &Place) {
        if !self.full.load(Ordering::Acquire) {
            return;
        }
        let pilot = {
            let mut state = self.state();
            if let Some(slot) = state.readers.get_mut(place.slot) {
                slot.position = place.next;
            }
            state.pilot.take()
        };
        pilot.into_iter().for_each(Waker::wake);
    }

    /// The head, or nothing if the flight ended without one. Who drives the flight is woken by that.
    pub fn poll_head(
        &self,
        place: &Place,
        context: &mut Context<'_>,
        driving: bool,
    ) -> Poll<Option<Result<Head, Refusal>>> {
        let mut state = self.state();
        // A head goes on with what follows it: an event, or the end.
        if state.end.is_some() || (state.head.is_some() && state.len() > 0) {
            return Poll::Ready(state.head.clone());
        }
        wait(&mut state, place, context, driving)
    }

    pub fn poll_batch(
        &self,
        place: &mut Place,
        context: &mut Context<'_>,
        driving: bool,
    ) -> Poll<Option<Result<Batch, Broken>>> {
        let mut state = self.state();
        if place.next < state.base {
            return Poll::Ready(Some(Err(Broken::ReaderTooSlow)));
        }
        if state.len() > place.next {
            let batch: Batch = state.events.range(place.next - state.base..).take(BATCH).cloned().collect();
            place.next += batch.len();
            return Poll::Ready(Some(Ok(batch)));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken))),
            None => wait(&mut state, place, context, driving),
        }
    }
}

fn wait<T>(state: &mut State, place: &Place, context: &mut Context<'_>, driving: bool) -> Poll<T> {
    if let Some(slot) = state.readers.get_mut(place.slot) {
        slot.position = place.next;
        slot.waker = (!driving).then(|| context.waker().clone());
    }
    Poll::Pending
}
