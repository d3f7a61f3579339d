//! One paid call, as it is written down.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::usage::{Service, Tokens};
use crate::{Route, Tenant};

/// Longer names of models, backends and tags are cut: clients invent them.
pub const MAX_NAME_BYTES: usize = 256;
/// Longer ids of requests are cut.
const MAX_ID_BYTES: usize = 128;
/// More tokens of one kind are no answer's. Sums stop at their most, so that nothing can overflow.
const MOST_TOKENS: u64 = 1 << 40;
/// The end of the year 9999: dates beyond it have no usual form.
const LAST: i64 = 253_402_300_799_999;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds of unix time at which the call ended.
    pub at: i64,
    pub kind: Kind,
    pub series: Series,
    pub measured: Measured,
    pub end: Ended,
    pub tokens: Tokens,
    pub service: Service,
    /// None: no price is known.
    pub cost: Option<Money>,
    pub took_ms: u32,
    pub first_token_ms: Option<u32>,
    pub attempt: u16,
    pub request_id: Option<Box<str>>,
}

/// Whether it was paid, or is what a call would have cost that was not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Call,
    CacheSaving,
    DedupSaving,
}

/// Whose count the tokens are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// The backend's.
    #[default]
    Measured,
    /// Ours, since the backend did not say.
    Estimated,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    #[default]
    Complete,
    /// Cut by the backend.
    Broken,
    /// Left by its client.
    Abandoned,
}

/// What roll-ups are kept for, each apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Plain", into = "Plain")]
pub struct Series {
    pub tenant: Tenant,
    pub model: Arc<str>,
    pub backend: Arc<str>,
    pub route: Route,
    pub tag: Option<Arc<str>>,
}

/// The same for another process, which shares nothing.
#[derive(Serialize, Deserialize)]
struct Plain {
    tenant: Tenant,
    model: String,
    backend: String,
    route: Route,
    tag: Option<String>,
}

impl From<Plain> for Series {
    fn from(plain: Plain) -> Self {
        let Plain { tenant, model, backend, route, tag } = plain;
        Series { tenant, model: model.into(), backend: backend.into(), route, tag: tag.map(Into::into) }
    }
}

impl From<Series> for Plain {
    fn from(series: Series) -> Self {
        let Series { tenant, model, backend, route, tag } = series;
        let (model, backend) = (model.to_string(), backend.to_string());
        Plain { tenant, model, backend, route, tag: tag.as_deref().map(str::to_owned) }
    }
}

impl Series {
    /// The same within the bounds of what can be kept.
    pub(super) fn bounded(mut self) -> Self {
        for name in [Some(&mut self.model), Some(&mut self.backend), self.tag.as_mut()].into_iter().flatten() {
            if name.len() > MAX_NAME_BYTES {
                *name = cut(name, MAX_NAME_BYTES).into();
            }
        }
        self.tag = self.tag.filter(|tag| !tag.is_empty());
        self
    }
}

impl Record {
    /// The same within the bounds of what can be kept.
    pub(super) fn bounded(mut self) -> Self {
        self.at = self.at.clamp(0, LAST);
        self.series = self.series.bounded();
        if let Some(id) = self.request_id.as_mut().filter(|id| id.len() > MAX_ID_BYTES) {
            *id = cut(id, MAX_ID_BYTES).into();
        }
        self.tokens = Tokens::from_counts(self.tokens.counts().map(|count| count.min(MOST_TOKENS)));
        self
    }
}

fn cut(name: &str, bytes: usize) -> &str {
    &name[..name.floor_char_boundary(bytes)]
}

/// The kinds of tokens in the order of their columns.
pub const TOKENS: [&str; 10] = [
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "image_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_output_tokens",
    "image_output_tokens",
];

pub(super) trait Counts {
    fn counts(&self) -> [u64; TOKENS.len()];
    fn from_counts(counts: [u64; TOKENS.len()]) -> Self;
}

impl Counts for Tokens {
    fn counts(&self) -> [u64; TOKENS.len()] {
        [
            self.input,
            self.cached_input,
            self.cache_writes,
            self.cache_writes_1h,
            self.audio_input,
            self.image_input,
            self.output,
            self.reasoning,
            self.audio_output,
            self.image_output,
        ]
    }

    fn from_counts(counts: [u64; TOKENS.len()]) -> Self {
        let [input, cached_input, cache_writes, cache_writes_1h, audio_input, image_input, output, rest @ ..] = counts;
        let [reasoning, audio_output, image_output] = rest;
        Tokens {
            input,
            cached_input,
            cache_writes,
            cache_writes_1h,
            audio_input,
            image_input,
            output,
            reasoning,
            audio_output,
            image_output,
        }
    }
}

/// What is a number in the file and a word everywhere else. Numbers are never given anew.
pub(super) trait Coded: Copy + Sized + 'static {
    const WORDS: &'static [(Self, &'static str)];

    fn code(self) -> i64;

    fn word(self) -> &'static str {
        Self::WORDS[self.code() as usize].1
    }

    /// None for a number that no version up to this one has written.
    fn of_code(code: i64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::WORDS.get(code)).map(|(value, _)| *value)
    }
}

macro_rules! coded {
    ($type:ty, $($value:ident = $word:literal),+) => {
        impl Coded for $type {
            const WORDS: &'static [(Self, &'static str)] = &[$((<$type>::$value, $word)),+];

            fn code(self) -> i64 {
                self as i64
            }
        }
    };
}

coded!(Kind, Call = "call", CacheSaving = "cache_saving", DedupSaving = "dedup_saving");
coded!(Measured, Measured = "measured", Estimated = "estimated");
coded!(Ended, Complete = "complete", Broken = "broken", Abandoned = "abandoned");
coded!(Service, Standard = "standard", Batch = "batch", Flex = "flex", Priority = "priority");
