//! Anthropic's Messages, whole and in events.

use bytes::Bytes;
use serde_json::{Value, json};

use super::named;

pub fn whole(events: Vec<Value>) -> Option<Value> {
    let mut message = Value::Null;
    let mut blocks: Vec<Value> = Vec::new();
    let mut arguments = String::new();
    for mut event in events {
        match event.get("type")?.as_str()? {
            "message_start" => message = event.get_mut("message")?.take(),
            "content_block_start" => {
                blocks.push(event.get_mut("content_block")?.take());
                arguments.clear();
            }
            "content_block_delta" => grow(blocks.last_mut()?, event.get("delta")?, &mut arguments)?,
            "content_block_stop" => {
                if !arguments.is_empty() {
                    *blocks.last_mut()?.get_mut("input")? = serde_json::from_str(&arguments).ok()?;
                }
            }
            "message_delta" => end(&mut message, &event)?,
            "message_stop" | "ping" => {}
            _ => return None,
        }
    }
    message.as_object_mut()?.insert("content".into(), blocks.into());
    message.get("stop_reason")?.is_string().then_some(message)
}

fn grow(block: &mut Value, delta: &Value, arguments: &mut String) -> Option<()> {
    let (key, piece) = match delta.get("type")?.as_str()? {
        "text_delta" => ("text", delta.get("text")?),
        "thinking_delta" => ("thinking", delta.get("thinking")?),
        "signature_delta" => ("signature", delta.get("signature")?),
        "input_json_delta" => {
            arguments.push_str(delta.get("partial_json")?.as_str()?);
            return Some(());
        }
        _ => return None,
    };
    let text = block.get(key).and_then(Value::as_str).unwrap_or_default();
    let grown = format!("{text}{}", piece.as_str()?);
    block.as_object_mut()?.insert(key.into(), grown.into());
    Some(())
}

/// The event that says how it ended, and the whole usage.
fn end(message: &mut Value, event: &Value) -> Option<()> {
    let message = message.as_object_mut()?;
    for (key, value) in event.get("delta")?.as_object()? {
        message.insert(key.clone(), value.clone());
    }
    let usage = message.get_mut("usage").and_then(Value::as_object_mut);
    if let (Some(usage), Some(more)) = (usage, event.get("usage").and_then(Value::as_object)) {
        usage.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Some(())
}

pub fn events(mut answer: Value) -> Option<Vec<Bytes>> {
    let message = answer.as_object_mut()?;
    let blocks = message.insert("content".into(), json!([]))?;
    let reason = message.insert("stop_reason".into(), Value::Null)?;
    let sequence = message.insert("stop_sequence".into(), Value::Null).unwrap_or_default();
    let usage = message.get("usage").cloned().unwrap_or_default();
    let mut events = vec![named(&json!({ "type": "message_start", "message": answer }))?];
    for (at, block) in blocks.as_array()?.iter().enumerate() {
        block_events(at, block, &mut events)?;
    }
    let delta = json!({ "stop_reason": reason, "stop_sequence": sequence });
    events.push(named(&json!({ "type": "message_delta", "delta": delta, "usage": usage }))?);
    events.push(named(&json!({ "type": "message_stop" }))?);
    Some(events)
}

fn block_events(at: usize, block: &Value, events: &mut Vec<Bytes>) -> Option<()> {
    let mut start = block.clone();
    let begun = start.as_object_mut()?;
    let mut empty = |key: &str, with: Value| Some(std::mem::replace(begun.get_mut(key)?, with));
    let deltas = match block.get("type")?.as_str()? {
        "text" => vec![json!({ "type": "text_delta", "text": empty("text", "".into())? })],
        "thinking" => vec![
            json!({ "type": "thinking_delta", "thinking": empty("thinking", "".into())? }),
            json!({ "type": "signature_delta", "signature": empty("signature", "".into())? }),
        ],
        "tool_use" => {
            vec![json!({ "type": "input_json_delta", "partial_json": empty("input", json!({}))?.to_string() })]
        }
        _ => return None,
    };
    events.push(named(&json!({ "type": "content_block_start", "index": at, "content_block": start }))?);
    for delta in deltas {
        events.push(named(&json!({ "type": "content_block_delta", "index": at, "delta": delta }))?);
    }
    events.push(named(&json!({ "type": "content_block_stop", "index": at }))?);
    Some(())
}
