//! What an answer says of itself: its id, who made it, why it ended. Read only of requests that spans are told of.

use serde::Deserialize;

use crate::labels;
use crate::trace::Said;

/// A piece that is longer is not read: what is looked for stands in short ones.
const LONGEST: usize = 64 * 1024;

/// The reasons of all APIs. Another is `other`: what a backend writes there is not ours to tell.
const REASONS: [&str; 15] = [
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "function_call",
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "completed",
    "incomplete",
    "failed",
    "abort",
];

/// All APIs at once: no two give one name two meanings.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece {
    id: Option<String>,
    model: Option<String>,
    choices: Vec<Choice>,
    stop_reason: Option<String>,
    /// Of the Responses API.
    status: Option<String>,
    delta: Option<Delta>,
    /// Anthropic's first event, and the Responses API's events.
    #[serde(alias = "response")]
    message: Option<Box<Piece>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    stop_reason: Option<String>,
}

/// Hears a whole body, or an event with its `data:`.
pub fn hear(said: &mut Said, bytes: &[u8]) {
    let bytes = bytes.strip_prefix(b"event:").map_or(bytes, after_line);
    let bytes = bytes.strip_prefix(b"data:").unwrap_or(bytes);
    if bytes.len() <= LONGEST
        && let Ok(piece) = serde_json::from_slice::<Piece>(bytes.trim_ascii())
    {
        note(said, piece);
    }
}

fn after_line(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == b'\n').map_or(&[], |end| &bytes[end + 1..])
}

fn note(said: &mut Said, piece: Piece) {
    let harmless = |text: Option<String>| text.filter(|text| labels::is_harmless(text)).map(String::into_boxed_str);
    said.id = said.id.take().or_else(|| harmless(piece.id));
    said.model = said.model.take().or_else(|| harmless(piece.model));
    let choices = piece.choices.into_iter().filter_map(|choice| choice.finish_reason);
    let status = piece.status.filter(|status| status != "in_progress" && status != "queued");
    let one = piece.stop_reason.or(piece.delta.and_then(|delta| delta.stop_reason)).or(status);
    for reason in choices.chain(one) {
        let known = REASONS.into_iter().find(|known| *known == reason).unwrap_or("other");
        if said.finish_reasons.len() < REASONS.len() {
            said.finish_reasons.push(known);
        }
    }
    if let Some(inner) = piece.message {
        note(said, *inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&str]) -> (Option<String>, Option<String>, Vec<&'static str>) {
        let mut said = Said::default();
        pieces.iter().for_each(|piece| hear(&mut said, piece.as_bytes()));
        (said.id.map(Into::into), said.model.map(Into::into), said.finish_reasons)
    }

    fn all(id: &str, model: &str, reasons: &[&'static str]) -> (Option<String>, Option<String>, Vec<&'static str>) {
        (Some(id.to_owned()), Some(model.to_owned()), reasons.to_vec())
    }

    #[test]
    fn every_api_is_heard() {
        let whole =
            r#"{"id":"chatcmpl-1","model":"m","choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}"#;
        assert_eq!(heard(&[whole]), all("chatcmpl-1", "m", &["stop", "length"]));
        let streamed = [
            "data: {\"id\":\"chatcmpl-1\",\"model\":\"m\",\"choices\":[{\"finish_reason\":null}]}\n\n",
            "data: {\"id\":\"chatcmpl-1\",\"model\":\"m\",\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        ];
        assert_eq!(heard(&streamed), all("chatcmpl-1", "m", &["stop"]));
        let anthropic = [
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"stop_reason\":null}}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
        ];
        assert_eq!(heard(&anthropic), all("msg_1", "c", &["end_turn"]));
        let responses = [
            "event: response.created\ndata: {\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"in_progress\"}}\n\n",
            "event: response.completed\ndata: {\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"completed\"}}\n\n",
        ];
        assert_eq!(heard(&responses), all("resp_1", "m", &["completed"]));
    }

    #[test]
    fn what_might_be_a_secret_or_a_text_is_not_told() {
        let sly = r#"{"id":"sk-canary","model":"tell me a secret","choices":[{"finish_reason":"sk-canary"}]}"#;
        assert_eq!(heard(&[sly, "data: nonsense", ""]), (None, None, vec!["other"]));
    }
}
