//! One flight: what runs the rest of the chain, its log, and the readers of it.
//!
//! While a flight has one reader, that reader drives it: no task, no hop, and a client that reads
//! slowly slows the backend and nothing else. When a second one joins, the flight becomes a task of
//! its own, owned by no connection. Either way the flight owns the log's only sender, so that one
//! that panics or is aborted ends its readers with an error: nobody can wait for ever. The readers
//! own the flight; when the last one leaves, dropping it lets the backend's stream go, which cancels
//! the generation.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::{Config, Counts, Flights, WhenAbandoned};
use crate::ask::{Ask, Print};
use crate::reply::{Body, Broken, Event, Reply, Timing};
use crate::{Next, Reason, Refusal};

/// What a flight has said so far.
#[derive(Default)]
struct Log {
    head: Option<Result<Head, Refusal>>,
    events: VecDeque<Event>,
    /// How many events were let go before the first that is kept.
    base: usize,
    bytes: usize,
    end: Option<Result<(), Broken>>,
}

#[derive(Clone)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    timing: Timing,
    whole: Option<bytes::Bytes>,
}

impl Log {
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
}

pub(super) struct Flight {
    /// The question, which those who join must have asked too.
    ask: Arc<Ask>,
    seen: watch::Receiver<Log>,
    course: Mutex<Course>,
    when_abandoned: WhenAbandoned,
    readers: Arc<Readers>,
    ticket: Ticket,
    counts: Arc<Counts>,
}

/// What moves a flight on.
enum Course {
    /// Its one reader, whenever it waits for more.
    Driven(BoxFuture<'static, ()>),
    Task(AbortHandle),
    Over,
}

/// How far each reader has come: asked only when a log is full.
#[derive(Default)]
struct Readers {
    positions: Mutex<Vec<Weak<AtomicUsize>>>,
    /// Told when a reader of a full log has moved on.
    moved: Notify,
    full: AtomicBool,
}

impl Readers {
    fn enter(&self) -> Arc<AtomicUsize> {
        let position = Arc::new(AtomicUsize::new(0));
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&position));
        position
    }

    /// The positions of the slowest and of the fastest reader that are still there.
    fn slowest_and_fastest(&self) -> Option<(usize, usize)> {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.retain(|position| position.strong_count() > 0);
        let here = positions.iter().filter_map(Weak::upgrade).map(|position| position.load(Ordering::Acquire));
        here.fold(None, |range, at| match range {
            None => Some((at, at)),
            Some((low, high)) => Some((low.min(at), high.max(at))),
        })
    }
}

/// What the map of flights knows of one.
pub(super) struct Registered {
    id: u64,
    flight: Weak<Flight>,
}

impl Registered {
    pub(super) fn join(&self, max_readers: usize) -> Option<Arc<Flight>> {
        if self.flight.strong_count() >= max_readers {
            return None;
        }
        self.flight.upgrade()
    }
}

/// A flight's place in the map; given up once it can no longer be joined, at the latest when dropped.
#[derive(Clone)]
struct Ticket {
    id: u64,
    print: Print,
    flights: Arc<Flights>,
}

impl Ticket {
    fn give_up(&self) {
        self.flights.remove_if(&self.print, |_, registered| registered.id == self.id);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.when_abandoned == WhenAbandoned::Cancel {
            self.ticket.give_up();
            if let Course::Task(task) = &*self.course() {
                task.abort();
            }
        }
    }
}

impl Flight {
    pub(super) fn open(
        ask: Arc<Ask>,
        next: Next,
        flights: Arc<Flights>,
        limits: &Config,
        counts: Arc<Counts>,
    ) -> (Arc<Flight>, Registered) {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket { id, print: ask.print, flights };
        let (log, seen) = watch::channel(Log::default());
        let readers = Arc::new(Readers::default());
        let pilot =
            Pilot { log, readers: readers.clone(), ticket: ticket.clone(), max_log_bytes: limits.max_log_bytes };
        // A panic ends the flight, not the connection that happens to drive it.
        let course = AssertUnwindSafe(pilot.fly(ask.clone(), next)).catch_unwind().map(drop).boxed();
        let flight = Arc::new(Flight {
            ask,
            seen,
            course: Mutex::new(Course::Driven(course)),
            when_abandoned: limits.when_abandoned,
            readers,
            ticket,
            counts,
        });
        if limits.when_abandoned == WhenAbandoned::Finish {
            flight.take_off(Some(flight.clone()));
        }
        let registered = Registered { id, flight: Arc::downgrade(&flight) };
        (flight, registered)
    }

    /// Whether this flight's answer is the answer to `ask`.
    pub(super) fn answers(&self, ask: &Ask) -> bool {
        self.ask.key() == ask.key()
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the flight a task of its own, which keeps `kept` until its end.
    pub(super) fn take_off(&self, kept: Option<Arc<Flight>>) {
        let mut course = self.course();
        if !matches!(*course, Course::Driven(_)) {
            return;
        }
        if let Course::Driven(driven) = std::mem::replace(&mut *course, Course::Over) {
            #[expect(clippy::disallowed_methods, reason = "a shared flight is the one task that outlives a client")]
            let task = tokio::spawn(async move {
                driven.await;
                drop(kept);
            });
            *course = Course::Task(task.abort_handle());
        }
    }

    /// Moves the flight on, if that is still its reader's part.
    fn drive(&self, context: &mut Context<'_>) {
        let mut course = self.course();
        if let Course::Driven(driven) = &mut *course
            && driven.poll_unpin(context).is_ready()
        {
            *course = Course::Over;
        }
    }
}

/// The flight's own side: writes the log.
struct Pilot {
    log: watch::Sender<Log>,
    readers: Arc<Readers>,
    ticket: Ticket,
    max_log_bytes: usize,
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.ticket.give_up();
    }
}

impl Pilot {
    async fn fly(self, ask: Arc<Ask>, next: Next) {
        match next.run(ask).await {
            Err(refusal) => self.land(Some(Err(refusal)), Ok(())),
            Ok(Reply { status, headers, body, timing }) => {
                let head = Head { status, headers, timing, whole: None };
                match body {
                    Body::Whole(bytes) => self.land(Some(Ok(Head { whole: Some(bytes), ..head })), Ok(())),
                    Body::Events(events) => {
                        let end = self.relay(head, events).await;
                        self.land(None, end);
                    }
                }
            }
        }
    }

    /// Nobody joins a flight that has ended: what comes now is a new question.
    fn land(&self, head: Option<Result<Head, Refusal>>, end: Result<(), Broken>) {
        self.ticket.give_up();
        self.log.send_modify(|log| {
            log.head = head.or_else(|| log.head.take());
            log.end = Some(end);
        });
    }

    async fn relay(&self, head: Head, mut events: crate::Events) -> Result<(), Broken> {
        let mut head = Some(Ok(head));
        loop {
            let mut next = events.next().await;
            let mut batch = Vec::new();
            let ended = loop {
                match next {
                    Some(Ok(event)) => batch.push(event),
                    Some(Err(broken)) => break Some(Err(broken)),
                    None => break Some(Ok(())),
                }
                // What has arrived together is logged together.
                match events.next().now_or_never() {
                    Some(ready) => next = ready,
                    None => break None,
                }
            };
            let full = self.append(head.take(), batch);
            if let Some(end) = ended {
                return end;
            }
            if full {
                self.make_room().await;
            }
        }
    }

    fn append(&self, head: Option<Result<Head, Refusal>>, batch: Vec<Event>) -> bool {
        let mut full = false;
        self.log.send_modify(|log| {
            if head.is_some() {
                log.head = head;
            }
            log.bytes += batch.iter().map(|event| event.bytes.len()).sum::<usize>();
            log.events.extend(batch);
            full = log.bytes > self.max_log_bytes;
        });
        full
    }

    /// A full log: nobody joins any more, and what all have read goes. If that is not enough, the
    /// readers that lag behind the fastest are cut off; if even the fastest lags, the backend waits.
    async fn make_room(&self) {
        self.ticket.give_up();
        self.readers.full.store(true, Ordering::Release);
        loop {
            let moved = self.readers.moved.notified();
            let length = self.log.borrow().len();
            let (slowest, fastest) = self.readers.slowest_and_fastest().unwrap_or((length, length));
            let mut room = false;
            self.log.send_if_modified(|log| {
                log.let_go_to(slowest);
                room = log.bytes <= self.max_log_bytes;
                if !room && fastest >= length {
                    let before = log.base;
                    while log.bytes > self.max_log_bytes && log.base < length {
                        log.let_go_to(log.base + 1);
                    }
                    room = true;
                    return log.base > before;
                }
                false
            });
            if room {
                return;
            }
            moved.await;
        }
    }
}

/// Waits for the head of the flight's answer and reads on from there.
pub(super) async fn read(flight: Arc<Flight>, leads: bool) -> Result<Reply, Refusal> {
    let mut reader = Reader {
        seen: flight.seen.clone(),
        position: flight.readers.enter(),
        flight,
        leads,
        next: 0,
        ready: VecDeque::new(),
        ended: false,
    };
    let head = loop {
        if let Some(head) = reader.seen.borrow_and_update().head.clone() {
            break head;
        }
        if reader.wait().await.is_err() {
            break Err(Reason::Lost.into());
        }
    };
    let Head { status, headers, timing, whole } = head?;
    let body = match whole {
        Some(bytes) => Body::Whole(bytes),
        None => Body::Events(Box::pin(reader.into_events())),
    };
    let timing = if leads { timing } else { Timing::default() };
    Ok(Reply { status, headers, body, timing })
}

/// Events that a reader takes from the log at once: it holds no more than these back from being let go.
const BATCH: usize = 64;

struct Reader {
    seen: watch::Receiver<Log>,
    position: Arc<AtomicUsize>,
    /// Held: the flight goes when its last reader does.
    flight: Arc<Flight>,
    /// Whether this one opened the flight, and drives it while it is alone.
    leads: bool,
    next: usize,
    ready: VecDeque<Event>,
    ended: bool,
}

impl Reader {
    fn into_events(self) -> impl Stream<Item = Result<Event, Broken>> + Send {
        futures::stream::unfold(self, |mut reader| async move {
            let event = reader.next_event().await?;
            Some((event, reader))
        })
    }

    async fn next_event(&mut self) -> Option<Result<Event, Broken>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            self.tell_position();
            if let Err(broken) = self.fetch().await {
                self.ended = true;
                return Some(Err(broken));
            }
        }
    }

    /// Tells how far this reader has come: what it has handed on, it has read.
    fn tell_position(&self) {
        self.position.store(self.next, Ordering::Release);
        if self.flight.readers.full.load(Ordering::Acquire) {
            self.flight.readers.moved.notify_one();
        }
    }

    /// Takes what is new in the log; waits if nothing is.
    async fn fetch(&mut self) -> Result<(), Broken> {
        loop {
            {
                let log = self.seen.borrow_and_update();
                if self.next < log.base {
                    self.flight.counts.evicted.fetch_add(1, Ordering::Relaxed);
                    return Err(Broken::ReaderTooSlow);
                }
                if log.len() > self.next {
                    let new = log.events.range(self.next - log.base..).take(BATCH);
                    self.ready.extend(new.cloned());
                    self.next += self.ready.len();
                    return Ok(());
                }
                match log.end {
                    Some(Ok(())) => {
                        self.ended = true;
                        return Ok(());
                    }
                    Some(Err(broken)) => return Err(broken),
                    None => {}
                }
            }
            self.wait().await?;
        }
    }

    /// Waits until the log has changed.
    async fn wait(&mut self) -> Result<(), Broken> {
        let Reader { seen, flight, leads, .. } = self;
        let mut changed = pin!(seen.changed());
        poll_fn(|context| {
            if *leads {
                flight.drive(context);
            }
            changed.as_mut().poll(context)
        })
        .await
        .map_err(|_| Broken::Lost)
    }
}
