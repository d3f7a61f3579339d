//! One flight: what runs the rest of the chain, its log, and the readers of it.
//!
//! While a flight has one reader, that reader drives it: no task, no hop, and a client that reads
//! slowly slows the backend and nothing else. When a second one joins, the flight becomes a task of
//! its own, owned by no connection. Either way a flight that panics or is aborted ends its log with an
//! error: nobody can wait for ever. The readers own the flight; when the last one leaves, dropping it
//! lets the backend's stream go, which cancels the generation.

mod log;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use futures::future::{BoxFuture, poll_fn};
use futures::{FutureExt, Stream, StreamExt};
use tokio::task::AbortHandle;

use self::log::{Head, Log, Place};
use super::{Counts, Dedup, Flights, WhenAbandoned};
use crate::ask::{Ask, Print};
use crate::charge::{Saver, Savings};
use crate::reply::{Batch, Body, Broken, Reply, Timing};
use crate::{Next, Reason, Refusal, trace};

pub(super) struct Flight {
    /// The question, which those who join must have asked too.
    ask: Arc<Ask>,
    /// Where those who join find it among the traces.
    pub(super) place: Option<trace::Place>,
    log: Arc<Log>,
    course: Mutex<Course>,
    when_abandoned: WhenAbandoned,
    ticket: Ticket,
    counts: Arc<Counts>,
}

/// What moves a flight on.
enum Course {
    /// Its one reader, whenever it waits for more; to be woken when somebody else takes over.
    Driven(BoxFuture<'static, ()>, Option<Waker>),
    Task(AbortHandle),
    Over,
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
    pub(super) fn open(ask: Arc<Ask>, next: Next, dedup: &Dedup) -> (Arc<Flight>, Registered) {
        let limits = &dedup.limits;
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket { id, print: ask.print, flights: dedup.flights.clone() };
        let log = Arc::new(Log::new(limits.max_log_bytes));
        let savings = dedup.savings.clone();
        let pilot = Pilot { ask: ask.clone(), log: log.clone(), ticket: ticket.clone(), savings };
        let (trace, span) = next.trace();
        let place = trace.place(span);
        // A panic ends the flight, not the connection that happens to drive it.
        let course = AssertUnwindSafe(pilot.fly(next)).catch_unwind().map(drop).boxed();
        let flight = Arc::new(Flight {
            ask,
            place,
            log,
            course: Mutex::new(Course::Driven(course, None)),
            when_abandoned: limits.when_abandoned,
            ticket,
            counts: dedup.counts.clone(),
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
        if !matches!(*course, Course::Driven(..)) {
            return;
        }
        if let Course::Driven(driven, driver) = std::mem::replace(&mut *course, Course::Over) {
            #[expect(clippy::disallowed_methods, reason = "a shared flight is the one task that outlives a client")]
            let task = tokio::spawn(async move {
                driven.await;
                drop(kept);
            });
            *course = Course::Task(task.abort_handle());
            drop(course);
            // From now on it is the log that wakes the driver too.
            driver.into_iter().for_each(Waker::wake);
        }
    }

    /// Moves the flight on, if that is its reader's part; whether it will wake that reader itself.
    fn drive(&self, context: &mut Context<'_>) -> bool {
        let mut course = self.course();
        let Course::Driven(driven, driver) = &mut *course else { return false };
        if driven.poll_unpin(context).is_ready() {
            *course = Course::Over;
            return false;
        }
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(context.waker())) {
            *driver = Some(context.waker().clone());
        }
        true
    }
}

/// The flight's own side: writes the log.
struct Pilot {
    ask: Arc<Ask>,
    log: Arc<Log>,
    ticket: Ticket,
    savings: Arc<dyn Savings>,
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.ticket.give_up();
        self.log.end(Err(Broken::Lost));
    }
}

impl Pilot {
    async fn fly(self, next: Next) {
        match next.run(self.ask.clone()).await {
            Err(refusal) => self.land(Some(Err(refusal)), Ok(())),
            Ok(Reply { status, headers, body, timing, charge }) => {
                let head = Head { status, headers, timing, whole: None, charge };
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
        if let Some(head) = head {
            self.log.begin(head);
        }
        self.log.end(end);
        let followers = self.log.followers();
        if followers > 0 {
            let (savings, ask) = (self.savings.clone(), self.ask.clone());
            self.log.when_charged(move |charged| savings.saved(Saver::Dedup, &ask, &charged.tokens, followers));
        }
    }

    async fn relay(&self, head: Head, mut events: crate::Events) -> Result<(), Broken> {
        self.log.begin(Ok(head));
        while let Some(batch) = events.next().await {
            if self.log.append(batch?) {
                // Its start will be let go: who comes now could not have it whole.
                self.ticket.give_up();
                poll_fn(|context| self.log.poll_room(context)).await;
            }
        }
        Ok(())
    }
}

/// Waits for the head of the flight's answer and reads on from there.
pub(super) async fn read(flight: Arc<Flight>, leads: bool) -> Result<Reply, Refusal> {
    let mut reader = Reader { place: flight.log.enter(), flight, leads, ended: false };
    let Head { status, headers, timing, whole, charge } = poll_fn(|context| reader.poll_head(context)).await?;
    let body = match whole {
        Some(bytes) => Body::Whole(bytes),
        None => Body::Events(Box::pin(reader)),
    };
    let timing = if leads { timing } else { Timing::default() };
    Ok(Reply { status, headers, body, timing, charge })
}

struct Reader {
    /// Held: the flight goes when its last reader does.
    flight: Arc<Flight>,
    place: Place,
    /// Whether this one opened the flight, and drives it while it is alone.
    leads: bool,
    ended: bool,
}

impl Reader {
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Refusal>> {
        let driving = self.leads && self.flight.drive(context);
        let head = ready!(self.flight.log.poll_head(&self.place, context, driving));
        Poll::Ready(head.unwrap_or_else(|| Err(Reason::Lost.into())))
    }
}

impl Stream for Reader {
    type Item = Result<Batch, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        this.flight.log.has_read(&this.place);
        let driving = this.leads && this.flight.drive(context);
        let batch = ready!(this.flight.log.poll_batch(&mut this.place, context, driving));
        if let Some(Err(Broken::ReaderTooSlow)) = batch {
            this.flight.counts.evicted.fetch_add(1, Ordering::Relaxed);
        }
        this.ended = !matches!(batch, Some(Ok(_)));
        Poll::Ready(batch)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.log.leave(&self.place);
    }
}
