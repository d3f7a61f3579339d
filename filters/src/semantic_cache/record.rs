//! Keeps an answer as it goes by: only if it is complete, of status 2xx, ended as it should, and not too large.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::cache::Cache;
use super::config::Rule;
use super::counts::Unkept;
use super::ended::{self, Ended};
use super::entry::{self, Entry, Form, Id, Made, Scope};
use super::matching::Matched;
use super::steering;
use crate::ask::{Ask, Route};
use crate::reply::{Body, Event, Kind, degraded};
use crate::usage::Tally;
use crate::{End, Reply, Watch, sse};

/// What is known of an answer before it has come.
pub struct Draft {
    pub cache: Arc<Cache>,
    pub ask: Arc<Ask>,
    pub id: Id,
    pub scope: Scope,
    pub tags: Vec<Box<str>>,
    pub rule: Rule,
    /// Its text and what was found out about it, where it is not to be found by its id alone.
    pub matched: Option<Matched>,
    /// How many invalidations had been heard of when it was asked.
    pub era: u64,
    pub begun: Instant,
}

/// Headers that belong to the answer and not to its journey.
const OF_THE_ANSWER: [&str; 5] =
    ["content-type", "cache-control", "openai-version", "openai-model", "anthropic-version"];

impl Draft {
    /// Lets the answer be kept as it goes by, if it is one that can be.
    pub fn record(self, reply: Reply) -> Reply {
        match self.unkept(&reply) {
            None => {
                let head = Head { status: reply.status, form: Spoken::of(&reply), headers: headers(&reply.headers) };
                let tape = Tape::new(self.cache.max_entry_bytes);
                reply.watched(Box::new(Recorder { draft: self, head, tape }))
            }
            Some(why) => {
                self.cache.counts.unkept(why);
                reply
            }
        }
    }

    fn unkept(&self, reply: &Reply) -> Option<Unkept> {
        if !reply.status.is_success() {
            return Some(Unkept::Status);
        }
        let encoded = reply.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        // What stood in for a model is not what that model says.
        if encoded || steering::forbids_keeping(&reply.headers) || degraded::is_another_models(&reply.headers) {
            return Some(Unkept::Forbidden);
        }
        let too_large = matches!(&reply.body, Body::Whole(body) if body.len() > self.cache.max_entry_bytes);
        too_large.then_some(Unkept::TooLarge)
    }
}

fn headers(all: &HeaderMap) -> Vec<(Box<str>, Bytes)> {
    let kept = all.iter().filter(|(name, _)| OF_THE_ANSWER.contains(&name.as_str()));
    kept.map(|(name, value)| (name.as_str().into(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Whole,
    Stream,
}

impl Spoken {
    fn of(reply: &Reply) -> Self {
        let kind = reply.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
        let stream = kind.len() >= 17 && kind[..17].eq_ignore_ascii_case(b"text/event-stream");
        match &reply.body {
            Body::Events(_) if stream => Spoken::Stream,
            _ => Spoken::Whole,
        }
    }
}

struct Head {
    status: StatusCode,
    form: Spoken,
    headers: Vec<(Box<str>, Bytes)>,
}

/// An answer's events as they go by, as long as they are not too many bytes.
pub struct Tape {
    events: Vec<Event>,
    bytes: usize,
    most: usize,
}

impl Tape {
    pub fn new(most: usize) -> Self {
        Tape { events: Vec::new(), bytes: 0, most }
    }

    pub fn push(&mut self, event: &Event) {
        self.bytes = self.bytes.saturating_add(event.bytes.len());
        if self.bytes > self.most {
            self.events = Vec::new();
        } else {
            self.events.push(event.clone());
        }
    }

    /// All of it, if it was not too much.
    pub fn events(&self) -> Option<&[Event]> {
        (self.bytes <= self.most).then_some(&self.events)
    }
}

struct Recorder {
    draft: Draft,
    head: Head,
    tape: Tape,
}

impl Watch for Recorder {
    fn event(&mut self, event: &Event) {
        self.tape.push(event);
    }

    fn end(self: Box<Self>, end: &End) {
        let cache = self.draft.cache.clone();
        let kept = if *end == End::Complete { self.into_entry() } else { Err(Unkept::Broken) };
        match kept {
            Ok((entry, matched)) => cache.keep(entry, matched),
            Err(why) => cache.counts.unkept(why),
        }
    }
}

impl Recorder {
    fn into_entry(self) -> Result<(Entry, Option<Matched>), Unkept> {
        let Recorder { draft, head, tape } = self;
        let events = tape.events().ok_or(Unkept::TooLarge)?;
        let ended = ended(draft.ask.route, head.form, events).ok_or(Unkept::Unfinished)?;
        let ask = &draft.ask;
        if ended.cut_off && ask.question.max_tokens.is_none() {
            return Err(Unkept::Unfinished);
        }
        let volatile = draft.matched.as_ref().is_some_and(Matched::is_volatile);
        // Only a whole answer in words may stand for another question's.
        let matched = draft.matched.filter(|_| !ended.calls_tools && !ended.cut_off);
        let made = made(ask, events, draft.begun, &draft.cache);
        let mut body = BytesMut::with_capacity(tape.bytes);
        let mut ends = Vec::with_capacity(if head.form == Spoken::Stream { events.len() } else { 0 });
        for event in events {
            body.extend_from_slice(&event.bytes);
            if head.form == Spoken::Stream {
                ends.push(u32::try_from(body.len()).map_err(|_| Unkept::TooLarge)?);
            }
        }
        let form = match head.form {
            Spoken::Whole => Form::Whole,
            Spoken::Stream => {
                let told = events.iter().rev().take(AT_THE_END).any(|event| sse::is_usage(&event.bytes));
                Form::Events { ends, usage: told || ask.question.include_usage }
            }
        };
        let fresh = if volatile { draft.rule.volatile_ttl } else { draft.rule.ttl };
        let entry = Entry {
            id: draft.id,
            scope: draft.scope,
            tenant: ask.tenant,
            route: ask.route,
            model: ask.question.model.clone().unwrap_or_default(),
            tags: draft.tags,
            text: matched.as_ref().map(|matched| matched.text.text.as_str().into()),
            era: draft.era,
            stored: entry::now(),
            fresh,
            kept: draft.rule.kept(fresh),
            made,
            form,
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.freeze(),
        };
        Ok((entry, matched))
    }
}

fn ended(route: Route, form: Spoken, events: &[Event]) -> Option<Ended> {
    let pieces = events.iter().map(|event| &event.bytes[..]);
    if form == Spoken::Stream {
        let last = events.iter().any(|event| event.kind == Kind::Last);
        return ended::stream(route, pieces).filter(|_| last);
    }
    match events {
        [whole] => ended::whole(route, &whole.bytes),
        _ => ended::whole(route, &pieces.collect::<Vec<_>>().concat()),
    }
}

/// Events at a stream's end among which its usage is.
const AT_THE_END: usize = 4;

/// What the answer took, by the backend's own word. It says so at a stream's beginning or end.
fn made(ask: &Ask, events: &[Event], begun: Instant, cache: &Cache) -> Made {
    let mut tally = Tally::new(ask.route, cache.tokenizers.clone(), ask.question.model.as_deref());
    let first = usize::from(ask.route == Route::Messages && events.len() > AT_THE_END);
    let last = events.len().saturating_sub(AT_THE_END);
    events[..first].iter().chain(&events[last.max(first)..]).for_each(|event| tally.event(event));
    let usage = tally.usage().unwrap_or_default();
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Made { input_tokens: usage.input, output_tokens: usage.output, millis }
}
