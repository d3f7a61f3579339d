//! Reads an OpenAI-compatible stream as it comes: when content came, how many tokens, and whether it ended well.
//!
//! It costs one look at each event. What the events say in detail is the integrity check's, after the last byte.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use tokio::time::Instant;

use super::answer::Usage;
use crate::load::record::outcome::{Failure, nanoseconds};

#[derive(Debug, Default)]
pub struct Stream {
    /// Up to where the body was read.
    scanned: usize,
    pub first: Option<Instant>,
    last: Option<Instant>,
    chunks: u64,
    usage: Option<Usage>,
    /// A finish reason or `[DONE]` has come.
    finished: bool,
    failure: Option<Failure>,
    /// Whether the simulator's word on the generation has come.
    pub simulated: bool,
}

impl Stream {
    /// Reads what has come since, out of all of the body that is kept, and adds the times between chunks of content,
    /// in nanoseconds.
    pub fn read(&mut self, body: &[u8], now: Instant, gaps: &mut Vec<u64>) {
        while let Some(length) = body[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let line = body[self.scanned..self.scanned + length].trim_ascii_end();
            self.scanned += length + 1;
            self.line(line, now, gaps);
        }
    }

    /// The bytes of the body that were read and may go; it is then read on from its new beginning.
    pub fn release(&mut self) -> usize {
        std::mem::take(&mut self.scanned)
    }

    /// What is wrong with it, once its body has ended.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.or((!self.finished).then_some(Failure::Truncated))
    }

    pub fn input_tokens(&self) -> u64 {
        self.usage.and_then(|usage| usage.prompt_tokens).unwrap_or(0)
    }

    /// As the server counts them; where it does not tell, the chunks of content.
    pub fn output_tokens(&self) -> u64 {
        self.usage.and_then(|usage| usage.completion_tokens).unwrap_or(self.chunks)
    }

    fn line(&mut self, line: &[u8], now: Instant, gaps: &mut Vec<u64>) {
        let Some(data) = line.strip_prefix(b"data:") else {
            let known = [&b":"[..], b"event:", b"id:", b"retry:"].iter().any(|field| line.starts_with(field));
            if !line.is_empty() && !known {
                self.fail(Failure::Malformed);
            }
            return;
        };
        let data = data.trim_ascii_start();
        if data == b"[DONE]" {
            self.finished = true;
            return;
        }
        match serde_json::from_slice::<Event>(data) {
            Ok(event) => self.event(&event, now, gaps),
            Err(_) => self.fail(Failure::Malformed),
        }
    }

    fn event(&mut self, event: &Event, now: Instant, gaps: &mut Vec<u64>) {
        if event.error.is_some() {
            self.fail(Failure::ErrorEvent);
        }
        self.simulated |= event.sim.is_some();
        self.usage = event.usage.or(self.usage);
        self.finished |= event.choices.iter().any(|choice| choice.finish_reason.is_some());
        if !event.choices.iter().any(Choice::has_content) {
            return;
        }
        self.chunks += 1;
        self.first.get_or_insert(now);
        if let Some(last) = self.last.replace(now) {
            gaps.push(nanoseconds(now.saturating_duration_since(last)));
        }
    }

    /// The first fault stays: what follows is often its consequence.
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<IgnoredAny>,
    sim: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    text: Filled,
    finish_reason: Option<IgnoredAny>,
}

/// What counts as content: text, thought, or a call.
#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Filled,
    #[serde(default, alias = "reasoning")]
    reasoning_content: Filled,
    #[serde(default)]
    refusal: Filled,
    #[serde(default)]
    tool_calls: Filled,
}

impl Choice {
    fn has_content(&self) -> bool {
        let Delta { content, reasoning_content, refusal, tool_calls } = &self.delta;
        [content, reasoning_content, refusal, tool_calls, &self.text].iter().any(|part| part.0)
    }
}

/// Whether a text or a list holds anything; null holds nothing. Nothing is copied.
#[derive(Clone, Copy, Debug, Default)]
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Filled, D::Error> {
        deserializer.deserialize_any(FilledVisitor)
    }
}

struct FilledVisitor;

impl<'de> Visitor<'de> for FilledVisitor {
    type Value = Filled;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a list or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<Filled, E> {
        Ok(Filled(!text.is_empty()))
    }

    fn visit_unit<E>(self) -> Result<Filled, E> {
        Ok(Filled(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Filled, A::Error> {
        let mut filled = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(Filled(filled))
    }
}

#[cfg(test)]
mod tests;
