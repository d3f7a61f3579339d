//! A kept answer as a reply, in the form that was asked for.

use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::convert;
use super::entry::{Entry, Form};
use crate::ask::{Ask, Route};
use crate::reply::{Event, Kind};
use crate::{Events, Reply, sse};

/// Events that go on together: enough to be quick, few enough to be written in pieces.
const BATCH: usize = 64;

/// The answer for this ask, if it can be had in its form.
pub fn reply(entry: &Entry, ask: &Ask) -> Option<Reply> {
    let status = StatusCode::from_u16(entry.status).ok()?;
    let streams = ask.question.stream && ask.route != Route::Embeddings;
    match (&entry.form, streams) {
        (Form::Whole, false) => Some(Reply::whole(status, headers(entry, None)?, entry.body.clone())),
        (Form::Whole, true) => {
            let events = convert::to_events(ask.route, &entry.body, ask.question.include_usage)?;
            Some(Reply::events(status, headers(entry, Some("text/event-stream"))?, of_parts(events, Saying::All)))
        }
        (Form::Events { .. }, false) => {
            let whole = convert::to_whole(ask.route, parts(entry).iter().map(|part| &part[..]))?;
            Some(Reply::whole(status, headers(entry, Some("application/json"))?, whole))
        }
        (Form::Events { usage, .. }, true) => {
            let wanted = ask.question.include_usage;
            let saying = if ask.hides_usage() { Saying::AllButUsage } else { Saying::All };
            let events = if *usage || !wanted || !says_usage(ask.route) {
                parts(entry)
            } else {
                let whole = convert::to_whole(ask.route, parts(entry).iter().map(|part| &part[..]))?;
                convert::to_events(ask.route, &whole, wanted)?
            };
            Some(Reply::events(status, headers(entry, None)?, of_parts(events, saying)))
        }
    }
}

/// Whether a stream says its usage only when it is asked to.
const fn says_usage(route: Route) -> bool {
    matches!(route, Route::ChatCompletions | Route::Completions)
}

/// The events as they came, without a copy.
pub fn parts(entry: &Entry) -> Vec<Bytes> {
    let Form::Events { ends, .. } = &entry.form else { return vec![entry.body.clone()] };
    let mut start = 0;
    let mut part = |end: &u32| {
        let end = (*end as usize).clamp(start, entry.body.len());
        let part = entry.body.slice(start..end);
        start = end;
        part
    };
    ends.iter().map(&mut part).collect()
}

/// What of a stream its client is to have.
#[derive(Clone, Copy, PartialEq)]
enum Saying {
    All,
    AllButUsage,
}

fn of_parts(parts: Vec<Bytes>, saying: Saying) -> Events {
    let kind = move |bytes: &Bytes| match saying {
        Saying::AllButUsage if sse::is_usage(bytes) => Kind::Usage,
        _ => sse::kind(bytes),
    };
    let events = parts.into_iter().map(move |bytes| Event { kind: kind(&bytes), bytes });
    let mut events = events.collect::<Vec<_>>().into_iter();
    Box::pin(stream::iter(std::iter::from_fn(move || {
        let batch: Vec<_> = events.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(Ok(batch))
    })))
}

fn headers(entry: &Entry, kind: Option<&'static str>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(entry.headers.len() + 8);
    for (name, value) in &entry.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
    }
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Some(headers)
}
