//! Lines out of bytes, and what a line of a chat stream says.

use std::borrow::Cow;

use serde::Deserialize;

/// A longer line is no chat chunk, and would only fill memory.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Puts lines together from parts that each end at a line's end or nowhere in particular.
#[derive(Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes a part, and gives the line that it ends, without its end.
    pub fn push(&mut self, part: &[u8]) -> Option<Vec<u8>> {
        self.partial.extend_from_slice(part);
        if !part.ends_with(b"\n") && self.partial.len() < LONGEST_LINE {
            return None;
        }
        let mut line = std::mem::take(&mut self.partial);
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        Some(line)
    }
}

pub enum Chunk {
    Nothing,
    Done,
    Error(String),
    Delta { content: String, finished: bool, sim: Option<Sim> },
}

/// The simulator's word on the whole generation.
#[derive(Clone, Debug, Deserialize)]
pub struct Sim {
    pub generation: u64,
    pub tokens: u64,
    pub sha256: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    error: Option<serde_json::Value>,
    sim: Option<Sim>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    finish_reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    // A plain option of a Cow would copy every text; a missing content and an empty one are the same here.
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    content: Cow<'a, str>,
}

/// Reads one line; the error says what is wrong with it.
pub fn read(line: &[u8]) -> Result<Chunk, String> {
    if line.is_empty() || line.starts_with(b":") {
        return Ok(Chunk::Nothing);
    }
    let Some(data) = line.strip_prefix(b"data:") else {
        let known = [&b"event:"[..], b"id:", b"retry:"].iter().any(|field| line.starts_with(field));
        return if known { Ok(Chunk::Nothing) } else { Err(format!("no event-stream field: {}", excerpt(line))) };
    };
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        return Ok(Chunk::Done);
    }
    let event: Event<'_> =
        serde_json::from_slice(data).map_err(|error| format!("no chunk ({error}): {}", excerpt(data)))?;
    if let Some(error) = event.error {
        return Ok(Chunk::Error(error.to_string()));
    }
    let content = event.choices.iter().map(|choice| choice.delta.content.as_ref()).collect();
    let finished = event.choices.iter().any(|choice| choice.finish_reason.is_some());
    Ok(Chunk::Delta { content, finished, sim: event.sim })
}

fn text_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'de>>::deserialize(deserializer)?.map(|text| text.0).unwrap_or_default())
}

fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
}
