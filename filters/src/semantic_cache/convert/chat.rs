//! Chat completions and completions, whole and in chunks.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{is_empty, unnamed};

/// What stands once in an answer and in each of its chunks.
const OF_THE_ANSWER: [&str; 5] = ["id", "created", "model", "system_fingerprint", "service_tier"];

/// The texts of a message that grow from chunk to chunk.
const TEXTS: [&str; 4] = ["content", "refusal", "reasoning_content", "reasoning"];

pub fn whole(chunks: &[Value]) -> Option<Value> {
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), Value::Null);
    let mut calls = Vec::new();
    let finish = each_choice(chunks, "delta", |delta| {
        for (key, value) in delta.as_object()?.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "role" => drop(message.insert(key.clone(), value.clone())),
                "tool_calls" => value.as_array()?.iter().try_for_each(|piece| grow_call(&mut calls, piece))?,
                text if TEXTS.contains(&text) => grow(&mut message, key, value.as_str()?),
                _ if is_empty(value) => {}
                _ => return None,
            }
        }
        Some(())
    })?;
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    if !message.contains_key("refusal") {
        message.insert("refusal".into(), Value::Null);
    }
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish });
    Some(answer(chunks, "chat.completion", choice))
}

pub fn whole_text(chunks: &[Value]) -> Option<Value> {
    let mut text = String::new();
    let finish = each_choice(chunks, "text", |piece| {
        text.push_str(piece.as_str()?);
        Some(())
    })?;
    let choice = json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": finish });
    Some(answer(chunks, "text_completion", choice))
}

/// Goes through the one choice of all chunks, and gives the word of its end.
fn each_choice<'c>(
    chunks: &'c [Value],
    member: &str,
    mut take: impl FnMut(&'c Value) -> Option<()>,
) -> Option<&'c Value> {
    let mut finish = None;
    for choice in chunks.iter().filter_map(|chunk| chunk.get("choices")?.as_array()).flatten() {
        let other = choice.get("index").is_some_and(|index| index != 0);
        if other || choice.get("logprobs").is_some_and(|value| !is_empty(value)) {
            return None;
        }
        if let Some(piece) = choice.get(member) {
            take(piece)?;
        }
        finish = choice.get("finish_reason").filter(|reason| reason.is_string()).or(finish);
    }
    finish
}

fn answer(chunks: &[Value], object: &str, choice: Value) -> Value {
    let mut answer = Map::new();
    answer.insert("object".into(), object.into());
    for key in OF_THE_ANSWER {
        if let Some(value) = chunks.iter().find_map(|chunk| chunk.get(key)) {
            answer.insert(key.into(), value.clone());
        }
    }
    answer.insert("choices".into(), Value::Array(vec![choice]));
    if let Some(usage) = chunks.iter().rev().find_map(|chunk| chunk.get("usage").filter(|usage| usage.is_object())) {
        answer.insert("usage".into(), usage.clone());
    }
    answer.into()
}

fn grow(message: &mut Map<String, Value>, key: &str, piece: &str) {
    match message.get_mut(key) {
        Some(Value::String(text)) => text.push_str(piece),
        _ => drop(message.insert(key.to_owned(), piece.into())),
    }
}

/// A call comes as its head first and then its arguments in pieces, each with the number of the call.
fn grow_call(calls: &mut Vec<Value>, piece: &Value) -> Option<()> {
    let at = usize::try_from(piece.get("index")?.as_u64()?).ok()?;
    if at == calls.len() {
        let mut call = piece.clone();
        call.as_object_mut()?.remove("index");
        calls.push(call);
        return Some(());
    }
    let arguments = calls.get_mut(at)?.get_mut("function")?.get_mut("arguments")?;
    if let Some(more) = piece.get("function").and_then(|function| function.get("arguments")) {
        *arguments = format!("{}{}", arguments.as_str()?, more.as_str()?).into();
    }
    Some(())
}

pub fn events(answer: &Value, usage: bool) -> Option<Vec<Bytes>> {
    let (choice, head) = parts(answer, "chat.completion.chunk")?;
    let message = choice.get("message")?.as_object()?;
    let mut deltas = vec![json!({ "role": message.get("role")?, "content": "" })];
    for (key, value) in message.iter().filter(|(key, value)| *key != "role" && !is_empty(value)) {
        match key.as_str() {
            "tool_calls" => deltas.push(json!({ "tool_calls": numbered(value)? })),
            text if TEXTS.contains(&text) => deltas.push(json!({ text: value.as_str()? })),
            _ => return None,
        }
    }
    let piece = |delta: &Value, finish: &Value| json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
    let mut choices: Vec<_> = deltas.iter().map(|delta| piece(delta, &Value::Null)).collect();
    choices.push(piece(&json!({}), choice.get("finish_reason")?));
    in_chunks(answer, head, choices, usage)
}

pub fn events_of_text(answer: &Value, usage: bool) -> Option<Vec<Bytes>> {
    let (choice, head) = parts(answer, "text_completion")?;
    let piece =
        |text: &str, finish: &Value| json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": finish });
    let choices = vec![piece(choice.get("text")?.as_str()?, &Value::Null), piece("", choice.get("finish_reason")?)];
    in_chunks(answer, head, choices, usage)
}

/// The one choice of an answer, and what each of its chunks says beside.
fn parts<'a>(answer: &'a Value, object: &str) -> Option<(&'a Value, Map<String, Value>)> {
    let [choice] = &answer.get("choices")?.as_array()?[..] else { return None };
    if choice.get("logprobs").is_some_and(|value| !is_empty(value)) {
        return None;
    }
    let mut head = Map::new();
    head.insert("object".into(), object.into());
    for key in OF_THE_ANSWER {
        if let Some(value) = answer.get(key) {
            head.insert(key.into(), value.clone());
        }
    }
    Some((choice, head))
}

fn in_chunks(answer: &Value, head: Map<String, Value>, choices: Vec<Value>, usage: bool) -> Option<Vec<Bytes>> {
    let chunk = |choices: Value, said: Option<&Value>| {
        let mut chunk = head.clone();
        chunk.insert("choices".into(), choices);
        if usage {
            chunk.insert("usage".into(), said.cloned().unwrap_or_default());
        }
        unnamed(&chunk.into())
    };
    let mut events: Vec<_> = choices.into_iter().map(|choice| chunk(Value::Array(vec![choice]), None)).collect();
    if usage {
        events.push(chunk(Value::Array(Vec::new()), Some(answer.get("usage").filter(|usage| usage.is_object())?)));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Some(events)
}

fn numbered(calls: &Value) -> Option<Value> {
    let number = |(at, call): (usize, &Value)| {
        let mut call = call.clone();
        call.as_object_mut()?.insert("index".into(), at.into());
        Some(call)
    };
    calls.as_array()?.iter().enumerate().map(number).collect::<Option<Vec<_>>>().map(Value::Array)
}
