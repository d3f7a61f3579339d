//! What an answer really used: by the backend's word where it gave one, else by the text that went by.
//!
//! Nothing of an answer is parsed but the few bytes of its `usage`, which are looked for as such. That is
//! safe, since a text of the model cannot hold the bare word with its quotes: JSON escapes them.

mod said;
mod text;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::reply::{Event, Kind};
use crate::tokens::Tokenizers;
use crate::{Ask, Route};
use said::Said;
use text::{Depth, Texts};

/// What one answer used, every kind apart that has a price of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All that the model read: what of it was cached, heard or seen is counted here, too.
    pub input: u64,
    /// The part of the input that was in the backend's cache.
    pub cached_input: u64,
    /// The part of the input that was put into the backend's cache.
    pub cache_writes: u64,
    /// The part of these that is to stay there for an hour.
    pub cache_writes_1h: u64,
    pub audio_input: u64,
    pub image_input: u64,
    /// All that the model wrote: what of it was thought, spoken or drawn is counted here, too.
    pub output: u64,
    /// The part of the output that was thought and not shown.
    pub reasoning: u64,
    pub audio_output: u64,
    pub image_output: u64,
}

/// The class of service that an answer was made in, where a backend has several with prices of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    #[default]
    Standard,
    Batch,
    Flex,
    Priority,
}

impl Service {
    pub const ALL: [Service; 4] = [Service::Standard, Service::Batch, Service::Flex, Service::Priority];

    pub const fn name(self) -> &'static str {
        match self {
            Service::Standard => "standard",
            Service::Batch => "batch",
            Service::Flex => "flex",
            Service::Priority => "priority",
        }
    }

    /// What the APIs call it: OpenAI's `default` and Anthropic's `standard` are one. None for `auto`, which leaves it open.
    pub fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"default" | b"standard" | b"standard_only" => Some(Service::Standard),
            b"batch" => Some(Service::Batch),
            b"flex" => Some(Service::Flex),
            b"priority" => Some(Service::Priority),
            _ => None,
        }
    }
}

/// Tokens of one answer, as the backend counts them. What it did not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that the model read, with what it had read before and kept.
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// The part of the input that was in the backend's cache.
    pub cached_input: Option<u64>,
    /// The part of the input that was put into the backend's cache, which Anthropic charges more for.
    pub cache_writes: Option<u64>,
    /// The part of these that is to stay there for an hour.
    pub cache_writes_1h: Option<u64>,
    pub audio_input: Option<u64>,
    pub image_input: Option<u64>,
    /// The part of the output that was thought and not shown.
    pub reasoning: Option<u64>,
    pub audio_output: Option<u64>,
    pub image_output: Option<u64>,
    /// The class of service that the answer was made in.
    pub service: Option<Service>,
}

impl Usage {
    /// All of it, with these in place of what the backend did not say.
    pub fn tokens(&self, input: u64, output: u64) -> Tokens {
        let said = |tokens: Option<u64>| tokens.unwrap_or(0);
        Tokens {
            input: self.input.unwrap_or(input),
            cached_input: said(self.cached_input),
            cache_writes: said(self.cache_writes),
            cache_writes_1h: said(self.cache_writes_1h),
            audio_input: said(self.audio_input),
            image_input: said(self.image_input),
            output: self.output.unwrap_or(output),
            reasoning: said(self.reasoning),
            audio_output: said(self.audio_output),
            image_output: said(self.image_output),
        }
    }
}

/// Counts an answer as it goes by: feed it every event. A body that is no stream may come in any pieces.
pub struct Tally {
    said: Said,
    texts: Texts,
    route: Route,
}

impl Tally {
    pub fn new(route: Route, tokenizers: Arc<Tokenizers>, model: Option<&str>) -> Self {
        Tally { said: Said::default(), texts: Texts::new(route, tokenizers, model), route }
    }

    /// For the answer to a question, whose bounds make the count more exact where the model's tokenizer is known.
    pub fn of(ask: &Ask, tokenizers: Arc<Tokenizers>) -> Self {
        let mut tally = Tally::new(ask.route, tokenizers, ask.question.model.as_deref());
        tally.texts.limit(ask.question.max_tokens);
        tally
    }

    pub fn event(&mut self, event: &Event) {
        match event.kind {
            Kind::Comment => {}
            Kind::Bytes => {
                self.said.piece(&event.bytes);
                self.texts.piece(&event.bytes);
            }
            Kind::Data | Kind::Prelude | Kind::Last | Kind::Usage => {
                self.said.event(&event.bytes);
                self.texts.event(&event.bytes);
            }
        }
    }

    /// What the backend said of it. An answer that was broken off may have no output here.
    pub fn usage(&self) -> Option<Usage> {
        self.said.usage(self.route)
    }

    /// An estimate of the output until now, from its texts: for answers whose backend did not say.
    ///
    /// Of a model whose own tokenizer is known it counts the first 4 KiB and takes the rest to be like them, so that
    /// no worker is held for long. Whoever can wait asks [`Tally::count_output`].
    pub fn output_so_far(&self) -> u64 {
        self.texts.tokens(Depth::AtOnce)
    }

    /// The same from all of its texts, up to 64 KiB. For threads that may be held for a tenth of a second.
    pub fn output_in_all(&self) -> u64 {
        self.texts.tokens(Depth::Whole)
    }

    /// The same from all of its texts, up to 64 KiB: a long answer is counted on another thread, so that nobody
    /// else waits.
    pub async fn count_output(&self) -> u64 {
        if !self.texts.is_long() {
            return self.output_so_far();
        }
        let texts = self.texts.clone();
        let count = tokio::task::spawn_blocking(move || texts.tokens(Depth::Whole));
        // It fails only if the tokenizer panics, or as the process ends.
        count.await.unwrap_or_else(|_| self.output_so_far())
    }
}

#[cfg(test)]
mod tests;
