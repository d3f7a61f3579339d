//! The backend's own word on what an answer used, found in passing.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::{Service, Usage};
use crate::Route;

const WORD: &[u8] = b"\"usage\"";
/// Longer than any `usage` of the APIs, which stay below 700 bytes.
const LONGEST: usize = 4096;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(WORD));
static TIER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"service_tier\""));

#[derive(Default)]
pub struct Said {
    fields: Option<Fields>,
    service: Option<Service>,
    /// The end of the last piece, if what we look for may begin in it.
    pending: Vec<u8>,
    /// Whether events of a stream have gone by: there several words add up to one.
    streamed: bool,
}

/// `usage` of all APIs at once: no two give one name two meanings.
#[derive(Clone, Copy, Default, Deserialize)]
struct Fields {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheWrites>,
    /// DeepSeek's name for what was cached.
    prompt_cache_hit_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

/// Anthropic's word on how long what it keeps is to stay.
#[derive(Clone, Copy, Deserialize)]
struct CacheWrites {
    ephemeral_1h_input_tokens: Option<u64>,
}

/// What stands behind the word.
enum Found {
    Fields(Box<Fields>),
    /// The text ends before it is told.
    Cut,
    SomethingElse,
}

impl Said {
    /// A whole event of a stream.
    pub fn event(&mut self, event: &[u8]) {
        self.streamed = true;
        if self.pending.is_empty() {
            self.scan(event);
        } else {
            // The end of an event that was too long to come whole.
            self.piece(event);
            self.pending.clear();
        }
    }

    /// Some bytes of a body; the next follow directly.
    pub fn piece(&mut self, mut bytes: &[u8]) {
        if !self.pending.is_empty() {
            let mut joined = std::mem::take(&mut self.pending);
            let before = joined.len();
            joined.extend_from_slice(&bytes[..bytes.len().min(WORD.len() + LONGEST)]);
            let rest = self.scan(&joined);
            if rest < before {
                joined.drain(..rest);
                self.pending = joined;
                return;
            }
            bytes = &bytes[rest - before..];
        }
        let rest = self.scan(bytes);
        self.pending.extend_from_slice(&bytes[rest..]);
    }

    /// Notes what the backend says in these bytes, and gives where a word that is cut off may begin.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(found) = FINDER.find(&bytes[at..]) {
            let behind = at + found + WORD.len();
            match read(&bytes[behind..bytes.len().min(behind + LONGEST)]) {
                Found::Fields(fields) => self.note(*fields, bytes),
                Found::Cut if bytes.len() < behind + LONGEST => return at + found,
                Found::Cut | Found::SomethingElse => {}
            }
            at = behind;
        }
        bytes.len().saturating_sub(WORD.len() - 1).max(at)
    }

    fn note(&mut self, mut fields: Fields, around: &[u8]) {
        self.service = service(around).or(self.service);
        if self.streamed && memchr::memmem::find(around, b"\"message_start\"").is_some() {
            // Anthropic's first word on the output, before there is any.
            fields.output_tokens = None;
        }
        match &mut self.fields {
            Some(known) if self.streamed => known.update(&fields),
            known => *known = Some(fields),
        }
    }

    pub fn usage(&self, route: Route) -> Option<Usage> {
        let fields = self.fields.as_ref()?;
        let input_details = fields.prompt_tokens_details.or(fields.input_tokens_details);
        let output_details = fields.completion_tokens_details.or(fields.output_tokens_details);
        let mut usage = Usage {
            input: fields.prompt_tokens.or(fields.input_tokens),
            output: fields.completion_tokens.or(fields.output_tokens),
            cached_input: input_details
                .and_then(|details| details.cached_tokens)
                .or(fields.cache_read_input_tokens)
                .or(fields.prompt_cache_hit_tokens),
            cache_writes: fields.cache_creation_input_tokens,
            cache_writes_1h: fields.cache_creation.and_then(|writes| writes.ephemeral_1h_input_tokens),
            audio_input: input_details.and_then(|details| details.audio_tokens),
            image_input: input_details.and_then(|details| details.image_tokens),
            reasoning: output_details.and_then(|details| details.reasoning_tokens),
            audio_output: output_details.and_then(|details| details.audio_tokens),
            image_output: output_details.and_then(|details| details.image_tokens),
            service: self.service,
        };
        if route == Route::Messages {
            // Anthropic counts these beside the input.
            let cached = fields.cache_read_input_tokens.unwrap_or(0);
            let written = fields.cache_creation_input_tokens.unwrap_or(0);
            usage.input = usage.input.map(|input| input.saturating_add(cached).saturating_add(written));
        }
        Some(usage)
    }
}

impl Fields {
    /// What was said later counts.
    fn update(&mut self, later: &Fields) {
        *self = Fields {
            prompt_tokens: later.prompt_tokens.or(self.prompt_tokens),
            completion_tokens: later.completion_tokens.or(self.completion_tokens),
            prompt_tokens_details: later.prompt_tokens_details.or(self.prompt_tokens_details),
            completion_tokens_details: later.completion_tokens_details.or(self.completion_tokens_details),
            input_tokens: later.input_tokens.or(self.input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            input_tokens_details: later.input_tokens_details.or(self.input_tokens_details),
            output_tokens_details: later.output_tokens_details.or(self.output_tokens_details),
            cache_creation_input_tokens: later.cache_creation_input_tokens.or(self.cache_creation_input_tokens),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            cache_creation: later.cache_creation.or(self.cache_creation),
            prompt_cache_hit_tokens: later.prompt_cache_hit_tokens.or(self.prompt_cache_hit_tokens),
            total_tokens: later.total_tokens.or(self.total_tokens),
        };
    }

    fn is_usage(&self) -> bool {
        let numbers =
            [self.prompt_tokens, self.completion_tokens, self.input_tokens, self.output_tokens, self.total_tokens];
        numbers.iter().any(Option::is_some)
    }
}

/// The class of service that stands in the same piece as the usage, beside it or in it.
fn service(around: &[u8]) -> Option<Service> {
    TIER.find_iter(around).find_map(|at| {
        let value = around[at + TIER.needle().len()..].trim_ascii_start().strip_prefix(b":")?;
        let word = value.trim_ascii_start().strip_prefix(b"\"")?;
        Service::named(&word[..memchr::memchr(b'"', word)?])
    })
}

/// Reads `: {…}`.
fn read(behind: &[u8]) -> Found {
    let mut words = behind.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (words.next(), words.next()) {
        (Some(b':'), Some(b'{')) => {}
        (None, _) | (Some(b':'), None) => return Found::Cut,
        _ => return Found::SomethingElse,
    }
    let start = memchr::memchr(b'{', behind).unwrap_or(0);
    let mut text = serde_json::Deserializer::from_slice(&behind[start..]);
    match Fields::deserialize(&mut text) {
        Ok(fields) if fields.is_usage() => Found::Fields(Box::new(fields)),
        Err(error) if error.is_eof() => Found::Cut,
        _ => Found::SomethingElse,
    }
}
