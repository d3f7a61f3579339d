//! One flight: the task that runs the rest of the chain, its log, and the readers of it.
//!
//! The task owns the log's only sender, so that a flight that panics or is aborted ends its readers
//! with an error: nobody can wait for ever. The readers own the flight; when the last one leaves, its
//! `Drop` aborts the task, which lets the backend's stream go, which cancels the generation.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures::{FutureExt, Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::{Config, Counts, Flights, WhenAbandoned};
use crate::ask::{Ask, Key};
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
    seen: watch::Receiver<Log>,
    task: OnceLock<AbortHandle>,
    when_abandoned: WhenAbandoned,
    readers: Arc<Readers>,
    ticket: Ticket,
    counts: Arc<Counts>,
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
    key: Key,
    flights: Arc<Flights>,
}

impl Ticket {
    fn give_up(&self) {
        self.flights.remove_if(&self.key, |_, registered| registered.id == self.id);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.when_abandoned == WhenAbandoned::Cancel {
            self.ticket.give_up();
            if let Some(task) = self.task.get() {
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
        limits: Config,
        counts: Arc<Counts>,
    ) -> (Arc<Flight>, Registered) {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket { id, key: ask.key, flights };
        let (log, seen) = watch::channel(Log::default());
        let readers = Arc::new(Readers::default());
        let flight = Arc::new(Flight {
            seen,
            task: OnceLock::new(),
            when_abandoned: limits.when_abandoned,
            readers: readers.clone(),
            ticket: ticket.clone(),
            counts,
        });
        let kept = (limits.when_abandoned == WhenAbandoned::Finish).then(|| flight.clone());
        let pilot = Pilot { log, readers, ticket, max_log_bytes: limits.max_log_bytes, _kept: kept };
        #[expect(clippy::disallowed_methods, reason = "a flight is the one task that outlives a client")]
        let task = tokio::spawn(pilot.fly(ask, next));
        // Set once, here; nobody else has the flight yet.
        let _ = flight.task.set(task.abort_handle());
        let registered = Registered { id, flight: Arc::downgrade(&flight) };
        (flight, registered)
    }
}

/// The flight's own side: writes the log.
struct Pilot {
    log: watch::Sender<Log>,
    readers: Arc<Readers>,
    ticket: Ticket,
    max_log_bytes: usize,
    /// Under `finish`: keeps the flight there to be joined until its end.
    _kept: Option<Arc<Flight>>,
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
        next: 0,
        ready: VecDeque::new(),
        ended: false,
    };
    let head = match reader.seen.wait_for(|log| log.head.is_some()).await {
        Ok(log) => log.head.clone(),
        Err(_) => None,
    };
    let Head { status, headers, timing, whole } = head.unwrap_or_else(|| Err(Reason::Lost.into()))?;
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
            self.seen.changed().await.map_err(|_| Broken::Lost)?;
        }
    }
}
