//! OpenAI's Responses, whole and in events. A stream ends with the answer whole, so one way is short.

use bytes::Bytes;
use serde_json::{Value, json};

use super::named;

pub fn whole(events: Vec<Value>) -> Option<Value> {
    let completed = |event: &Value| event.get("type").is_some_and(|kind| kind == "response.completed");
    events.into_iter().rev().find(completed)?.get_mut("response").map(Value::take)
}

pub fn events(answer: Value) -> Option<Vec<Bytes>> {
    let mut begun = answer.clone();
    let head = begun.as_object_mut()?;
    head.insert("status".into(), "in_progress".into());
    head.insert("output".into(), json!([]));
    head.insert("usage".into(), Value::Null);
    let mut said = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    for (at, item) in answer.get("output")?.as_array()?.iter().enumerate() {
        item_events(at, item, &mut said)?;
    }
    said.push(json!({ "type": "response.completed", "response": answer }));
    said.iter_mut()
        .enumerate()
        .map(|(number, event)| {
            event.as_object_mut()?.insert("sequence_number".into(), number.into());
            named(event)
        })
        .collect()
}

/// A message's events; of other items, which come at once, their beginning and end.
fn item_events(at: usize, item: &Value, said: &mut Vec<Value>) -> Option<()> {
    let id = item.get("id").cloned().unwrap_or_default();
    let mut begun = item.clone();
    if item.get("type")? == "message" {
        begun.as_object_mut()?.insert("status".into(), "in_progress".into());
        begun.as_object_mut()?.insert("content".into(), json!([]));
    } else if item.get("type")? != "reasoning" {
        return None;
    }
    said.push(json!({ "type": "response.output_item.added", "output_index": at, "item": begun }));
    let parts = item.get("content").and_then(Value::as_array).filter(|_| item["type"] == "message");
    for (number, part) in parts.into_iter().flatten().enumerate() {
        let text = part.get("text").filter(|_| part["type"] == "output_text")?;
        let mut event = |kind: &str, key: &str, value: &Value| {
            said.push(json!({ "type": kind, "item_id": id, "output_index": at, "content_index": number, key: value }));
        };
        let mut empty = part.clone();
        empty.as_object_mut()?.insert("text".into(), "".into());
        event("response.content_part.added", "part", &empty);
        event("response.output_text.delta", "delta", text);
        event("response.output_text.done", "text", text);
        event("response.content_part.done", "part", part);
    }
    said.push(json!({ "type": "response.output_item.done", "output_index": at, "item": item }));
    Some(())
}
