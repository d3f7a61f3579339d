//! What happens, told to whoever listens: the newest events are kept, and nobody who reads slowly holds anybody up.
//!
//! Whoever says something appends it to a bounded ring and goes on; a reader takes what it wants from there in its own
//! time. One that comes too late for something is told how much it has missed. Numbers go on rising over a restart, so
//! that a reader that comes back with the last one it saw neither misses what is new nor hears it twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Events that are kept for readers that come late or come back.
const KEPT: usize = 1024;
/// Readers at a time.
const READERS: usize = 64;
/// What a reader is told where it has missed something; no filter leaves it out.
pub const LOST: &str = "lost";

#[derive(Debug)]
pub struct Event {
    pub id: u64,
    pub kind: &'static str,
    pub data: Value,
}

pub struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    /// The number of the newest event. It changes only while `kept` is locked.
    newest: watch::Sender<u64>,
    /// All numbers of this process are above this one.
    start: u64,
    seats: Arc<Semaphore>,
}

impl Events {
    pub fn new() -> Arc<Self> {
        #[expect(clippy::disallowed_methods, reason = "a date is meant: later processes have higher numbers")]
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // A million events a second, below the 2^53 that JavaScript can count to.
        Self::starting_after(seconds << 20)
    }

    fn starting_after(start: u64) -> Arc<Self> {
        Arc::new(Events {
            kept: Mutex::default(),
            newest: watch::Sender::new(start),
            start,
            seats: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Tells of something, from any thread; waits for nobody.
    pub fn say(&self, kind: &'static str, data: Value) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *self.newest.borrow() + 1;
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::new(Event { id, kind, data }));
        self.newest.send_replace(id);
    }

    /// A reader of what comes after `since`, or only of what is still to come; none where too many read already. Since 0
    /// is everything that is kept.
    pub fn reader(self: &Arc<Self>, since: Option<u64>, kinds: Kinds) -> Option<Reader> {
        let seat = self.seats.clone().try_acquire_owned().ok()?;
        let newest = self.newest.subscribe();
        let last = *newest.borrow();
        let of_another_process = since.is_some_and(|since| since != 0 && !(self.start..=last).contains(&since));
        let next = match since {
            None => last + 1,
            Some(_) if of_another_process => self.start + 1,
            Some(since) => since.max(self.start) + 1,
        };
        Some(Reader { events: self.clone(), newest, next, kinds, of_another_process, _seat: seat })
    }
}

/// What a reader wants to hear of: all, or what it names.
#[derive(Debug, Default)]
pub struct Kinds(Option<Vec<Box<str>>>);

impl Kinds {
    /// `alert,regression`; nothing is all.
    pub fn of(list: Option<&str>) -> Self {
        let names = list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(Into::into).collect();
        Kinds((!names.is_empty()).then_some(names))
    }

    fn want(&self, kind: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|name| **name == *kind))
    }
}

/// One who listens. It keeps its seat until it is dropped.
pub struct Reader {
    events: Arc<Events>,
    newest: watch::Receiver<u64>,
    /// The number of the first event that it has not looked at.
    next: u64,
    kinds: Kinds,
    /// It goes on from a number of a process before this one, and nobody knows what it has missed.
    of_another_process: bool,
    _seat: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event that is wanted, as soon as there is one. Nothing is lost where this is not awaited to its end.
    pub async fn next(&mut self) -> Arc<Event> {
        loop {
            // Seen before it is looked at: what is said meanwhile wakes it again.
            self.newest.borrow_and_update();
            if let Some(event) = self.kept() {
                return event;
            }
            if self.newest.changed().await.is_err() {
                // Its other end lives as long as `events`.
                std::future::pending::<()>().await;
            }
        }
    }

    fn kept(&mut self) -> Option<Arc<Event>> {
        if std::mem::take(&mut self.of_another_process) {
            return Some(self.lost(None));
        }
        let events = self.events.clone();
        let kept = events.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.front()?.id;
        if self.next < oldest {
            let missed = oldest - self.next;
            self.next = oldest;
            return Some(self.lost(Some(missed)));
        }
        // Numbers have no gaps.
        let seen = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
        let wanted = kept.iter().skip(seen).find(|event| self.kinds.want(event.kind)).cloned();
        let last = wanted.as_ref().or(kept.back())?.id;
        self.next = self.next.max(last + 1);
        wanted
    }

    /// Its number is that of the last event that is missing: who comes back with it is not told again.
    fn lost(&self, events: Option<u64>) -> Arc<Event> {
        Arc::new(Event { id: self.next - 1, kind: LOST, data: json!({ "events": events }) })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const START: u64 = 1000;

    /// What a reader hears without waiting: number, kind and data of each event.
    fn heard(reader: &mut Reader) -> Vec<(u64, &'static str, Value)> {
        let mut heard = Vec::new();
        while let Some(event) = reader.next().now_or_never() {
            heard.push((event.id, event.kind, event.data.clone()));
        }
        heard
    }

    fn saying(count: usize) -> Arc<Events> {
        let events = Events::starting_after(START);
        (0..count).for_each(|number| events.say(["even", "odd"][number % 2], json!(number)));
        events
    }

    #[test]
    fn a_reader_hears_what_is_said_after_it_has_come_in_order() {
        let events = saying(3);
        let mut reader = events.reader(None, Kinds::default()).unwrap();
        assert_eq!(heard(&mut reader), [], "what was before is not asked for");
        events.say("a", json!(1));
        events.say("b", json!(2));
        assert_eq!(heard(&mut reader), [(START + 4, "a", json!(1)), (START + 5, "b", json!(2))]);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let events = saying(0);
        let mut reader = events.reader(None, Kinds::default()).unwrap();
        let said = async {
            tokio::task::yield_now().await;
            events.say("late", json!({}));
        };
        let (event, ()) = tokio::join!(reader.next(), said);
        assert_eq!(event.kind, "late");
    }

    #[test]
    fn one_that_comes_back_hears_what_it_has_not_seen_and_no_more() {
        let events = saying(5);
        let since = |since| heard(&mut events.reader(Some(since), Kinds::default()).unwrap());
        let numbers = |since_| since(since_).into_iter().map(|(id, ..)| id - START).collect::<Vec<_>>();
        assert_eq!(numbers(START + 3), [4, 5]);
        assert_eq!(numbers(START + 5), [0; 0], "it has seen all");
        assert_eq!(numbers(0), [1, 2, 3, 4, 5], "0 is all that is kept");
    }

    #[test]
    fn only_so_many_are_kept_and_who_is_late_is_told_how_many_it_has_missed() {
        let events = saying(1);
        let mut slow = events.reader(None, Kinds::of(Some("none of these"))).unwrap();
        let mut all = events.reader(None, Kinds::default()).unwrap();
        (0..KEPT + 7).for_each(|number| events.say("more", json!(number)));
        assert_eq!(events.kept.lock().unwrap().len(), KEPT);
        let lost = (START + 8, LOST, json!({ "events": 7 }));
        assert_eq!(heard(&mut slow), std::slice::from_ref(&lost), "no filter leaves out that something is missing");
        let heard_of_all = heard(&mut all);
        assert_eq!((heard_of_all.len(), &heard_of_all[0]), (KEPT + 1, &lost));
        assert_eq!(heard_of_all[1], (START + 9, "more", json!(7)), "it goes on with the oldest that is kept");
        let back = heard(&mut events.reader(Some(START + 8), Kinds::default()).unwrap());
        assert_eq!(back.len(), KEPT, "who was told of the loss is not told again");
    }

    #[test]
    fn a_number_of_another_process_is_answered_with_all_that_is_kept_and_a_word_that_some_may_be_missing() {
        let events = saying(2);
        for since in [7, START - 1, START + 3, u64::MAX] {
            let heard = heard(&mut events.reader(Some(since), Kinds::default()).unwrap());
            assert_eq!(heard[0], (START, LOST, json!({ "events": null })), "since {since}");
            assert_eq!(heard.len(), 3, "since {since}");
        }
    }

    #[test]
    fn a_filter_names_kinds() {
        let events = saying(4);
        let kinds = |list| {
            let mut reader = events.reader(Some(0), Kinds::of(list)).unwrap();
            heard(&mut reader).into_iter().map(|(_, kind, _)| kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(Some("odd")), ["odd", "odd"]);
        assert_eq!(kinds(Some(" odd , even,")), ["even", "odd", "even", "odd"]);
        assert_eq!(kinds(Some("other")), [""; 0]);
        assert_eq!(kinds(Some("")).len(), 4, "nothing named is everything");
        assert_eq!(kinds(None).len(), 4);
    }

    #[test]
    fn so_many_read_at_a_time_and_a_seat_that_is_left_is_free() {
        let events = saying(0);
        let mut readers: Vec<_> = (0..READERS).map(|_| events.reader(None, Kinds::default()).unwrap()).collect();
        assert!(events.reader(None, Kinds::default()).is_none());
        readers.pop();
        assert!(events.reader(None, Kinds::default()).is_some());
    }
}
