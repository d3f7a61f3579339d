//! What a template is rendered with: the messages of whichever API, in the form of Chat Completions.
//!
//! This is what engines do before they render: vLLM and llama.cpp alike join the texts of parts where a template
//! knows none, read the arguments of calls, and serve Messages and Responses by turning them into chats.
//! What a message holds beside is handed on as it stands, since templates have names of their own.

mod other;

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};
use serde::Deserialize;

use super::Contents;
use crate::{Ask, Route};

/// The members of a body that make up a prompt. What is of another type than its API says is left to the template.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    messages: Value,
    tools: Value,
    system: Value,
    input: Value,
    instructions: Value,
    chat_template_kwargs: Value,
    add_generation_prompt: Option<Value>,
}

/// What became of a question: the names for its template, and what follows the template's text.
pub struct Prompt {
    pub names: BTreeMap<String, Value>,
    pub continues: Option<String>,
}

/// Whether an answer that the client has begun is written on, as llama.cpp does, or stands as one that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAnswer {
    WrittenOn,
    Given,
}

/// The prompt of a question, if its route has messages.
pub fn prompt(ask: &Ask, contents: Contents, last: LastAnswer) -> Option<Prompt> {
    if !matches!(ask.route, Route::ChatCompletions | Route::Messages | Route::Responses) {
        return None;
    }
    let body: Body = serde_json::from_slice(&ask.body).ok()?;
    let (messages, tools) = match ask.route {
        Route::Messages => (other::messages(&body.system, &body.messages), other::tools(&body.tools)),
        Route::Responses => (other::items(&body.instructions, &body.input), other::tools(&body.tools)),
        _ => (list(&body.messages), body.tools),
    };
    let mut messages: Vec<Value> = messages.iter().map(|one| message(one, contents)).collect();
    let continues = if last == LastAnswer::WrittenOn { pop_begun(&mut messages) } else { None };
    let mut names: BTreeMap<_, _> = members(&body.chat_template_kwargs).into_iter().collect();
    names.insert("messages".to_owned(), Value::from(messages));
    if tools.len().is_some_and(|tools| tools > 0) {
        names.insert("tools".to_owned(), tools);
    }
    if let Some(add) = body.add_generation_prompt {
        names.insert("add_generation_prompt".to_owned(), add);
    }
    Some(Prompt { names, continues })
}

/// The last message, where it is a text of the assistant.
fn pop_begun(messages: &mut Vec<Value>) -> Option<String> {
    let last = messages.last()?;
    let text = member(last, "content")?.as_str()?.to_owned();
    let calls = member(last, "tool_calls").is_some();
    let begun = !calls && member(last, "role")?.as_str() == Some("assistant");
    begun.then(|| messages.pop())?;
    Some(text)
}

fn message(given: &Value, contents: Contents) -> Value {
    let mut members = members(given);
    if member(given, "role").and_then(|role| Some(role.as_str()? == "developer")) == Some(true) {
        set(&mut members, "role", Value::from("system"));
    }
    let of = |key: &str| given.get_attr(key).unwrap_or_default();
    set(&mut members, "content", content(&of("content"), contents));
    if let Some(calls) = member(given, "tool_calls") {
        set(&mut members, "tool_calls", list(&calls).iter().map(call).collect());
    }
    Value::from_pairs(members)
}

fn content(given: &Value, contents: Contents) -> Value {
    match (given.kind(), contents) {
        (ValueKind::Seq, Contents::Texts) => Value::from(joined(given)),
        (ValueKind::Seq, _) => list(given).iter().map(part).collect(),
        (ValueKind::String, Contents::Parts) => Value::from(vec![part(given)]),
        (ValueKind::None | ValueKind::Undefined, _) => Value::from(""),
        _ => given.clone(),
    }
}

/// One part: a text as it stands, and of everything else only what it is, not its megabytes.
fn part(given: &Value) -> Value {
    match (text_of(given), member(given, "type")) {
        (Some(text), _) => Value::from_pairs([("type", "text"), ("text", &text)]),
        (None, Some(kind)) if kind.as_str() == Some("image_url") => Value::from_pairs([("type", "image")]),
        (None, kind) => Value::from_pairs([("type", kind.unwrap_or_default())]),
    }
}

fn joined(parts: &Value) -> String {
    list(parts).iter().filter_map(text_of).collect::<Vec<_>>().join("\n")
}

fn text_of(part: &Value) -> Option<String> {
    if let Some(text) = part.as_str() {
        return Some(text.to_owned());
    }
    Some(member(part, "text")?.as_str()?.to_owned())
}

/// Arguments come as a text of JSON, and templates write them as JSON themselves.
fn call(given: &Value) -> Value {
    let Some(function) = member(given, "function") else { return given.clone() };
    let Some(Ok(arguments)) = arguments(&function) else { return given.clone() };
    let (mut call, mut function) = (members(given), members(&function));
    set(&mut function, "arguments", arguments);
    set(&mut call, "function", Value::from_pairs(function));
    Value::from_pairs(call)
}

fn arguments(function: &Value) -> Option<Result<Value, serde_json::Error>> {
    Some(serde_json::from_str(member(function, "arguments")?.as_str()?))
}

type Members = Vec<(String, Value)>;

/// The members of an object in their order, which JSON that is made of it keeps; none of anything else.
fn members(value: &Value) -> Members {
    if value.kind() != ValueKind::Map {
        return Vec::new();
    }
    let keys = value.try_iter().into_iter().flatten();
    keys.filter_map(|key| Some((key.as_str()?.to_owned(), value.get_item(&key).ok()?))).collect()
}

fn set(members: &mut Members, key: &str, value: Value) {
    match members.iter_mut().find(|(name, _)| name == key) {
        Some((_, member)) => *member = value,
        None => members.push((key.to_owned(), value)),
    }
}

/// One member that is there and not null.
fn member(value: &Value, key: &str) -> Option<Value> {
    let found = value.get_attr(key).ok()?;
    (!found.is_undefined() && !found.is_none()).then_some(found)
}

/// The items of a list; none of anything else.
fn list(value: &Value) -> Vec<Value> {
    match value.kind() {
        ValueKind::Seq => value.try_iter().into_iter().flatten().collect(),
        _ => Vec::new(),
    }
}
