//! The contract of a room: it answers an ask, refuses it, or hands it on.
//!
//! The chain is an onion and not a list of hooks, because a room must be able to own what is below
//! it (`dedup` lets it outlive the client), to skip it (a cache hit) and to see its end (a breaker).
//! The runner, [`Next::run`], times every room, once, here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Histogram, Meter};
use opentelemetry::trace::SpanId;
use tokio::time::Instant;

use crate::trace::{Called, Outcome, Trace};
use crate::{Ask, Call, Refusal, Reply};

#[async_trait]
pub trait Filter: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Answers the ask, refuses it, or hands it on with `next.run(ask)`.
    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal>;
}

/// What stands behind the last room. Dropping the reply of a call cancels the generation.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    async fn call(&self, ask: &Ask, call: &Call) -> Result<Reply, Refusal>;
}

/// The name under which the time behind the last room is reported.
pub const BACKEND: &str = "backend";

struct Room {
    filter: Arc<dyn Filter>,
    duration: Arc<BoundHistogram<f64>>,
}

struct Rooms {
    rooms: Vec<Room>,
    backend: Arc<dyn Backend>,
    backend_duration: Arc<BoundHistogram<f64>>,
}

/// The instruments of the rooms: made once, however many chains follow one another.
pub struct Durations {
    histogram: Histogram<f64>,
    bound: Mutex<HashMap<&'static str, Arc<BoundHistogram<f64>>>>,
}

impl Durations {
    pub fn new(meter: &Meter) -> Self {
        let histogram = meter
            .f64_histogram("outrigger_filter_duration")
            .with_unit("s")
            .with_description(
                "Time a room spent itself until it had the head of the answer, without the rooms below it.",
            )
            .with_boundaries(ROOM_SECONDS.to_vec())
            .build();
        Durations { histogram, bound: Mutex::default() }
    }

    fn of(&self, name: &'static str) -> Arc<BoundHistogram<f64>> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let bind = || Arc::new(self.histogram.bind(&[KeyValue::new("filter", name)]));
        bound.entry(name).or_insert_with(bind).clone()
    }
}

/// The rooms in their order, with the backend behind them.
#[derive(Clone)]
pub struct Chain(Arc<Rooms>);

impl Chain {
    pub fn new(filters: Vec<Arc<dyn Filter>>, backend: Arc<dyn Backend>, meter: &Meter) -> Self {
        Chain::timed(filters, backend, &Durations::new(meter))
    }

    /// With instruments that there are already.
    pub fn timed(filters: Vec<Arc<dyn Filter>>, backend: Arc<dyn Backend>, durations: &Durations) -> Self {
        let room = |filter: Arc<dyn Filter>| Room { duration: durations.of(filter.name()), filter };
        let rooms = filters.into_iter().map(room).collect();
        Chain(Arc::new(Rooms { rooms, backend, backend_duration: durations.of(BACKEND) }))
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.rooms.iter().map(|room| room.filter.name())
    }

    pub async fn run(&self, ask: Arc<Ask>) -> Result<Reply, Refusal> {
        self.run_traced(ask, Trace::none()).await
    }

    /// Runs it, and notes its way.
    pub async fn run_traced(&self, ask: Arc<Ask>, trace: Trace) -> Result<Reply, Refusal> {
        let span = trace.span();
        Next { rooms: self.0.clone(), at: 0, call: Call::default(), trace, span }.run(ask).await
    }
}

/// Buckets from a microsecond to minutes: a room takes microseconds, the backend takes seconds.
const ROOM_SECONDS: [f64; 16] = [
    0.000_001, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0,
    30.0, 120.0,
];

/// The rest of the chain. Owned, so that a flight may outlive the client that opened it; cloned, it is run once more.
#[derive(Clone)]
pub struct Next {
    rooms: Arc<Rooms>,
    at: usize,
    call: Call,
    trace: Trace,
    /// Whose child comes next.
    span: SpanId,
}

impl Next {
    /// What is to be called, and how, as the rooms above decided.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// The same with what is to be called, and how.
    pub fn with(self, call: Call) -> Self {
        Next { call, ..self }
    }

    /// The way so far, and the span that calls from here are children of.
    pub fn trace(&self) -> (&Trace, SpanId) {
        (&self.trace, self.span)
    }

    pub async fn run(self, ask: Arc<Ask>) -> Result<Reply, Refusal> {
        let Next { rooms, at, mut call, trace, span } = self;
        let begun = Instant::now();
        let (name, duration, entered, mut outcome) = match rooms.rooms.get(at) {
            Some(room) => {
                let name = room.filter.name();
                let entered = trace.enter(name, span, None);
                let next = Next { rooms: rooms.clone(), at: at + 1, call, trace, span: entered.id };
                (name, &room.duration, entered, room.filter.handle(ask, next).await)
            }
            None => {
                let called = Called { backend: call.backend, attempt: call.attempt, ..Called::default() };
                let entered = trace.enter(BACKEND, span, Some(Box::new(called)));
                call.place = trace.place(entered.id);
                (BACKEND, &rooms.backend_duration, entered, rooms.backend.call(&ask, &call).await)
            }
        };
        entered.leave(match &outcome {
            Ok(reply) => Outcome::Answered(reply.status.as_u16()),
            Err(refusal) => Outcome::Refused(refusal.reason.label()),
        });
        let timing = match &mut outcome {
            Ok(reply) => &mut reply.timing,
            Err(refusal) => &mut refusal.timing,
        };
        let own = timing.enter(name, begun.elapsed());
        duration.record(own.as_secs_f64());
        outcome
    }
}
