//! A backend that does what a script says: for the tests of rooms, alone and with paused time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::ask::{Ask, Route, Sharing, Tenant};
use crate::reply::{Broken, Event, Kind};
use crate::{Backend, Call, Reason, Refusal, Reply};

/// One step of a scripted answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// Waits, on tokio's clock.
    Wait(Duration),
    /// An event with this data.
    Data(&'static str),
    Break(Broken),
    Panic,
}

/// What one call is answered with.
#[derive(Clone, Debug)]
pub enum Script {
    Whole(StatusCode, &'static str),
    /// A wait, then this.
    Late(Duration, Box<Script>),
    Stream(Vec<Step>),
    Refuse(Reason),
    Panic,
}

impl Script {
    /// A wait, then a whole answer.
    pub fn late(wait: Duration, body: &'static str) -> Self {
        Script::Late(wait, Box::new(Script::Whole(StatusCode::OK, body)))
    }
}

/// Answers every call with its script, the last one again when they run out; counts what becomes of them.
#[derive(Clone, Default)]
pub struct Scripted(Arc<State>);

#[derive(Default)]
struct State {
    scripts: Mutex<VecDeque<Script>>,
    calls: AtomicUsize,
    dropped: AtomicUsize,
    finished: AtomicUsize,
}

impl Scripted {
    pub fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        let state = State { scripts: Mutex::new(scripts.into_iter().collect()), ..State::default() };
        Scripted(Arc::new(state))
    }

    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Calls that were let go before their end.
    pub fn cancelled(&self) -> usize {
        self.0.dropped.load(Ordering::SeqCst) - self.0.finished.load(Ordering::SeqCst)
    }

    fn script(&self) -> Script {
        let mut scripts = self.0.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
        next.unwrap_or(Script::Whole(StatusCode::OK, "{}"))
    }
}

/// Counts a call as cancelled unless it finished.
struct Running(Scripted);

impl Running {
    fn finish(&self) {
        self.0.0.finished.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Backend for Scripted {
    async fn call(&self, _ask: &Ask, _call: &Call) -> Result<Reply, Refusal> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let call = Running(self.clone());
        let mut script = self.script();
        while let Script::Late(wait, then) = script {
            tokio::time::sleep(wait).await;
            script = *then;
        }
        match script {
            Script::Whole(status, body) => {
                call.finish();
                Ok(Reply::whole(status, HeaderMap::new(), body))
            }
            Script::Stream(steps) => {
                let headers = [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))].into_iter().collect();
                Ok(Reply::events(StatusCode::OK, headers, play(steps, call)))
            }
            Script::Refuse(reason) => {
                call.finish();
                Err(Refusal::because(reason, "scripted"))
            }
            Script::Panic | Script::Late(..) => panic!("scripted"),
        }
    }
}

fn play(steps: Vec<Step>, call: Running) -> crate::Events {
    Box::pin(stream::unfold((VecDeque::from(steps), call), |(mut steps, call)| async move {
        loop {
            match steps.pop_front() {
                None => {
                    call.finish();
                    return None;
                }
                Some(Step::Wait(wait)) => tokio::time::sleep(wait).await,
                Some(Step::Data(text)) => return Some((Ok(vec![data(text)]), (steps, call))),
                Some(Step::Break(broken)) => {
                    call.finish();
                    return Some((Err(broken), (steps, call)));
                }
                Some(Step::Panic) => panic!("scripted"),
            }
        }
    }))
}

/// An event with this data.
pub fn data(text: &str) -> Event {
    let kind = if text == "[DONE]" { Kind::Last } else { Kind::Data };
    Event { bytes: Bytes::from(format!("data: {text}\n\n")), kind }
}

/// A chat request with this body.
///
/// # Panics
/// If the body is not a JSON object.
pub fn ask(body: &str) -> Ask {
    ask_by("tenant", Sharing::Allowed, body)
}

/// # Panics
/// If the body is not a JSON object.
pub fn ask_by(tenant: &str, sharing: Sharing, body: &str) -> Ask {
    let (route, tenant) = (Route::ChatCompletions, Tenant::of(tenant.as_bytes()));
    let body = Bytes::copy_from_slice(body.as_bytes());
    match Ask::read(route, tenant, route.path().to_owned(), HeaderMap::new(), body, sharing) {
        Ok(ask) => ask,
        Err(reason) => panic!("a test's own body was refused: {reason}"),
    }
}
