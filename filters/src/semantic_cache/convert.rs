//! A kept stream as a plain answer, and the reverse: what the model said is the same in both.
//!
//! Only what is understood whole is converted; of anything else there is no other form, and the question is a miss.

mod chat;
mod messages;
mod responses;

use bytes::Bytes;
use serde_json::Value;

use crate::ask::Route;

/// The plain answer that a stream's events amount to.
pub fn to_whole<'e>(route: Route, events: impl Iterator<Item = &'e [u8]>) -> Option<Bytes> {
    let mut chunks = Vec::new();
    for event in events {
        match data(event) {
            None | Some(b"[DONE]") => {}
            Some(data) => chunks.push(serde_json::from_slice::<Value>(data).ok()?),
        }
    }
    let answer = match route {
        Route::ChatCompletions => chat::whole(&chunks),
        Route::Completions => chat::whole_text(&chunks),
        Route::Messages => messages::whole(chunks),
        Route::Responses => responses::whole(chunks),
        Route::Embeddings => None,
    }?;
    Some(Bytes::from(answer.to_string()))
}

/// The events in which a plain answer would have come; with a chunk of its usage only if that was asked for.
pub fn to_events(route: Route, body: &[u8], usage: bool) -> Option<Vec<Bytes>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match route {
        Route::ChatCompletions => chat::events(&answer, usage),
        Route::Completions => chat::events_of_text(&answer, usage),
        Route::Messages => messages::events(answer),
        Route::Responses => responses::events(answer),
        Route::Embeddings => None,
    }
}

/// What a plain answer says, its texts one behind the other.
pub fn text(route: Route, body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let texts = |items: &Value, key: &str| {
        let texts = items.as_array()?.iter().filter_map(|item| item.get(key)?.as_str());
        Some(texts.collect::<Vec<_>>().join("\n"))
    };
    match route {
        Route::ChatCompletions => Some(answer.pointer("/choices/0/message/content")?.as_str()?.to_owned()),
        Route::Completions => texts(answer.get("choices")?, "text"),
        Route::Messages => texts(answer.get("content")?, "text"),
        Route::Responses => {
            let items = answer.get("output")?.as_array()?.iter().filter_map(|item| texts(item.get("content")?, "text"));
            Some(items.collect::<Vec<_>>().join("\n"))
        }
        Route::Embeddings => None,
    }
}

/// The data of an event that has one line of it.
pub fn data(event: &[u8]) -> Option<&[u8]> {
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| line.strip_prefix(b"data:"));
    let data = lines.next()?.trim_ascii();
    lines.next().is_none().then_some(data)
}

/// An event of the APIs that name none.
fn unnamed(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// An event of the APIs that name theirs, as the data does.
fn named(data: &Value) -> Option<Bytes> {
    Some(Bytes::from(format!("event: {}\ndata: {data}\n\n", data.get("type")?.as_str()?)))
}

/// Nothing at all: null, or a list or text without content.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
