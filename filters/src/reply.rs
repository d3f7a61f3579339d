//! An answer as it goes by: a head, and a body that is whole or still coming.
//!
//! A [`Watch`] sees an answer and never changes it; whoever lets the answer go before its end has
//! abandoned it, and the watch is told so.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, StatusCode};

use crate::charge::Charge;

/// One piece of an answer: a whole server-sent event, or a run of bytes of any other body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub bytes: Bytes,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event that carries data: a token, mostly.
    Data,
    /// An event that says that an answer will come, and nothing of it: engines send it before they have begun.
    Prelude,
    /// The event after which nothing follows: `[DONE]`, or the API's own last event.
    Last,
    /// The chunk that says what a stream used, where its client did not ask for it: for us, and never written to him.
    Usage,
    /// A comment or an empty event: a sign of life.
    Comment,
    /// Bytes of a body that is no event stream.
    Bytes,
}

/// Why an answer that had begun did not end as it should. Clients are shown it; logs too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("The backend broke off in the middle of its answer.")]
    BackendCut,
    #[error("The backend sent nothing more within the time allowed between two tokens.")]
    TokenGap,
    #[error("The backend did not finish its answer in the time allowed for all of it.")]
    TooLong,
    #[error("This client read too slowly to keep up with an answer that it shares with others.")]
    ReaderTooSlow,
    #[error("This server is being stopped, and the time that answers had to end is over.")]
    Stopping,
    #[error("The answer was lost inside Outrigger.")]
    Lost,
}

impl Broken {
    pub const fn code(self) -> &'static str {
        match self {
            Broken::BackendCut => "backend_cut",
            Broken::TokenGap => "backend_stalled",
            Broken::TooLong => "backend_timeout",
            Broken::ReaderTooSlow => "reader_too_slow",
            Broken::Stopping => "server_shutting_down",
            Broken::Lost => "internal_error",
        }
    }
}

/// The header that says whether an answer was kept: the semantic cache's word, which other rooms heed.
pub mod kept {
    use http::HeaderMap;

    pub const HEADER: &str = "x-cache";
    pub const HIT: &str = "HIT";
    pub const SEMANTIC: &str = "SEMANTIC";
    pub const STALE: &str = "STALE";
    pub const MISS: &str = "MISS";
    pub const BYPASS: &str = "BYPASS";
    /// Made once for several who asked at the same time.
    pub const COALESCED: &str = "COALESCED";

    /// Whether the answer was there already, so that the backend was not asked.
    pub fn is_kept(headers: &HeaderMap) -> bool {
        headers.get(HEADER).is_some_and(|value| [HIT, SEMANTIC, STALE].iter().any(|word| value == word))
    }
}

/// The header that says that an answer is not quite what was asked for, and why.
pub mod degraded {
    use http::HeaderMap;

    pub const HEADER: &str = "x-outrigger-degraded";
    /// It came from a backend that stands in for those that were meant.
    pub const FALLBACK_POOL: &str = "fallback_pool";
    /// It came from another model.
    pub const FALLBACK_MODEL: &str = "fallback_model";

    /// Whether it is an answer of the model that was asked for.
    pub fn is_another_models(headers: &HeaderMap) -> bool {
        headers.get_all(HEADER).iter().any(|value| value == FALLBACK_MODEL)
    }
}

/// Events that arrived together, at least one: they go on together.
pub type Batch = Vec<Event>;

pub type Events = Pin<Box<dyn Stream<Item = Result<Batch, Broken>> + Send>>;

pub enum Body {
    /// Complete when the head is.
    Whole(Bytes),
    /// Still coming. Ends after `None`, or after the first error; dropping it cancels what makes it.
    Events(Events),
}

/// How long each room took until it had the head of the answer, rooms below it included, innermost first.
#[derive(Clone, Debug, Default)]
pub struct Timing(Vec<(&'static str, Duration)>);

impl Timing {
    /// Notes the time of one more room, outside those already noted, and gives the time that was its own.
    pub fn enter(&mut self, name: &'static str, took: Duration) -> Duration {
        let below = self.0.last().map_or(Duration::ZERO, |(_, took)| *took);
        self.0.push((name, took));
        took.saturating_sub(below)
    }

    /// Each room's own time, outermost first.
    pub fn own(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let below = std::iter::once(Duration::ZERO).chain(self.0.iter().map(|(_, took)| *took));
        let own: Vec<_> =
            self.0.iter().zip(below).map(|((name, took), below)| (*name, took.saturating_sub(below))).collect();
        own.into_iter().rev()
    }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    pub timing: Timing,
    /// What it cost, or will have cost; none where nobody counts.
    pub charge: Option<Charge>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    Broken(Broken),
    /// Nobody wanted the rest.
    Abandoned,
}

/// Sees an answer go by. It never awaits and keeps its own state; `end` is called exactly once.
pub trait Watch: Send + 'static {
    fn event(&mut self, _event: &Event) {}
    fn end(self: Box<Self>, end: &End);
}

impl Reply {
    pub fn whole(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        Reply { status, headers, body: Body::Whole(body.into()), timing: Timing::default(), charge: None }
    }

    pub fn events(status: StatusCode, headers: HeaderMap, events: Events) -> Self {
        Reply { status, headers, body: Body::Events(events), timing: Timing::default(), charge: None }
    }

    /// Lets `watch` see this answer. An answer that is whole already has gone by at once.
    pub fn watched(mut self, mut watch: Box<dyn Watch>) -> Self {
        self.body = match self.body {
            Body::Whole(bytes) => {
                watch.event(&Event { bytes: bytes.clone(), kind: Kind::Bytes });
                watch.end(&End::Complete);
                Body::Whole(bytes)
            }
            Body::Events(events) => Body::Events(Box::pin(Watched { events, watch: Some(watch) })),
        };
        self
    }
}

struct Watched {
    events: Events,
    watch: Option<Box<dyn Watch>>,
}

impl Watched {
    fn end(&mut self, end: End) {
        if let Some(watch) = self.watch.take() {
            watch.end(&end);
        }
    }
}

impl Stream for Watched {
    type Item = Result<Batch, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.events.as_mut().poll_next(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) => {
                if let Some(watch) = self.watch.as_mut() {
                    batch.iter().for_each(|event| watch.event(event));
                }
            }
            Poll::Ready(Some(Err(broken))) => self.end(End::Broken(*broken)),
            Poll::Ready(None) => self.end(End::Complete),
            Poll::Pending => {}
        }
        next
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(End::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::{StreamExt, stream};

    use super::*;

    #[derive(Default, Clone)]
    struct Seen(Arc<Mutex<(usize, Vec<End>)>>);

    impl Watch for Seen {
        fn event(&mut self, _event: &Event) {
            self.0.lock().unwrap().0 += 1;
        }
        fn end(self: Box<Self>, end: &End) {
            self.0.lock().unwrap().1.push(*end);
        }
    }

    fn reply(items: Vec<Result<Batch, Broken>>) -> Reply {
        Reply::events(StatusCode::OK, HeaderMap::new(), Box::pin(stream::iter(items)))
    }

    fn data() -> Result<Batch, Broken> {
        Ok(vec![Event { bytes: Bytes::from_static(b"data: x\n\n"), kind: Kind::Data }])
    }

    #[tokio::test]
    async fn a_watch_is_told_the_end_exactly_once() {
        for (items, expected) in [
            (vec![data(), data()], End::Complete),
            (vec![data(), Err(Broken::BackendCut)], End::Broken(Broken::BackendCut)),
        ] {
            let seen = Seen::default();
            let Body::Events(mut events) = reply(items).watched(Box::new(seen.clone())).body else {
                panic!("a stream")
            };
            while events.next().await.is_some() {}
            drop(events);
            assert_eq!(seen.0.lock().unwrap().1, [expected]);
        }
    }

    #[tokio::test]
    async fn an_answer_let_go_before_its_end_is_abandoned() {
        let seen = Seen::default();
        let Body::Events(mut events) = reply(vec![data(), data()]).watched(Box::new(seen.clone())).body else {
            panic!("a stream")
        };
        events.next().await;
        drop(events);
        assert_eq!(*seen.0.lock().unwrap(), (1, vec![End::Abandoned]));
    }

    #[test]
    fn a_whole_answer_has_gone_by_at_once() {
        let seen = Seen::default();
        Reply::whole(StatusCode::OK, HeaderMap::new(), "{}").watched(Box::new(seen.clone()));
        assert_eq!(*seen.0.lock().unwrap(), (1, vec![End::Complete]));
    }

    #[test]
    fn a_rooms_own_time_is_its_time_without_the_rooms_below() {
        let mut timing = Timing::default();
        let millis = Duration::from_millis;
        assert_eq!(timing.enter("backend", millis(10)), millis(10));
        assert_eq!(timing.enter("dedup", millis(12)), millis(2));
        assert_eq!(timing.own().collect::<Vec<_>>(), [("dedup", millis(2)), ("backend", millis(10))]);
    }
}
