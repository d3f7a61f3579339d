//! What an answer really used: by the backend's word where it gave one, else by the text that went by.
//!
//! Nothing of an answer is parsed but the few bytes of its `usage`, which are looked for as such. That is
//! safe, since a text of the model cannot hold the bare word with its quotes: JSON escapes them.

mod said;
mod text;

use std::sync::Arc;

use crate::Route;
use crate::reply::{Event, Kind};
use crate::tokens::Tokenizers;
use said::Said;
use text::Texts;

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
    /// The part of the output that was thought and not shown.
    pub reasoning: Option<u64>,
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

    pub fn event(&mut self, event: &Event) {
        match event.kind {
            Kind::Comment => {}
            Kind::Bytes => {
                self.said.piece(&event.bytes);
                self.texts.piece(&event.bytes);
            }
            Kind::Data | Kind::Prelude | Kind::Last => {
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
    pub fn output_so_far(&self) -> u64 {
        self.texts.tokens()
    }
}

#[cfg(test)]
mod tests;
