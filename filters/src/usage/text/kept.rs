//! The texts of an answer, kept to be tokenised once, by the model's own vocabulary.
//!
//! An engine counts the tokens that it made, and these are not always those that its whole text would be encoded as: a
//! model that writes one end of a line after another made two tokens where the vocabulary has one for both. In a
//! stream the events tell: each ends with a token. So events are tokenised one by one, unless they
//! come in pieces smaller than tokens, which the text as a whole shows.
//!
//! The token that ends a turn is none of the text, and vLLM and llama.cpp count it.

use std::collections::HashMap;

use super::meaning;
use crate::Route;
use crate::tokens::Own;

/// No more of one answer is tokenised; the rest is taken to be like it.
const MOST_BYTES: usize = 64 * 1024;
/// What a worker may tokenise itself.
const AT_ONCE_BYTES: usize = 4 * 1024;
/// Between two texts. In a string of JSON this byte is always escaped.
const SEPARATOR: u8 = b'\n';

#[derive(Clone)]
pub struct Kept {
    own: Own,
    /// The most tokens that the client asked for.
    pub limit: Option<u64>,
    /// Texts as they stand in JSON, each with a separator behind it.
    texts: Vec<u8>,
    /// Bytes beyond what is kept.
    left_out: u64,
    /// Answers that ended of themselves, and those that were cut off at the limit.
    ended: u64,
    cut_off: u64,
}

/// How much of an answer is tokenised: of a longer one, these first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// In a few milliseconds at most.
    AtOnce,
    /// In a hundred milliseconds at most.
    Whole,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Ended,
    CutOff,
}

impl Ending {
    /// The words of all APIs. For what is none of them nothing is known.
    pub fn read(word: &[u8]) -> Option<Ending> {
        match word {
            b"stop" | b"tool_calls" | b"function_call" | b"end_turn" | b"stop_sequence" | b"tool_use" => {
                Some(Ending::Ended)
            }
            b"completed" | b"eos_token" => Some(Ending::Ended),
            b"length" | b"max_tokens" | b"incomplete" => Some(Ending::CutOff),
            _ => None,
        }
    }
}

impl Kept {
    pub fn new(own: Own) -> Self {
        Kept { own, limit: None, texts: Vec::new(), left_out: 0, ended: 0, cut_off: 0 }
    }

    pub fn text(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(MOST_BYTES.saturating_sub(self.texts.len()));
        self.texts.extend_from_slice(&bytes[..kept]);
        self.left_out += (bytes.len() - kept) as u64;
    }

    pub fn end_of_text(&mut self) {
        if self.texts.len() >= MOST_BYTES {
            self.left_out += 1;
        } else if self.texts.last().is_some_and(|last| *last != SEPARATOR) {
            self.texts.push(SEPARATOR);
        }
    }

    pub fn ended(&mut self, ending: Ending, route: Route) {
        let count = match ending {
            Ending::Ended => &mut self.ended,
            Ending::CutOff => &mut self.cut_off,
        };
        // A response and each of its items have a status.
        *count = if route == Route::Responses { 1 } else { *count + 1 };
    }

    pub fn is_long(&self) -> bool {
        self.texts.len() > AT_ONCE_BYTES
    }

    pub fn tokens(&self, streamed: bool, depth: Depth, count: impl Fn(&str) -> u64) -> u64 {
        let most = if depth == Depth::AtOnce { AT_ONCE_BYTES } else { MOST_BYTES };
        let sample = &self.texts[..self.texts.len().min(most)];
        let texts = || sample.split(|byte| *byte == SEPARATOR).filter(|text| !text.is_empty());
        let joined = || texts().map(meaning).collect::<String>();
        let counted = match (streamed, self.own) {
            (false, _) => apart(texts(), &count),
            (true, Own::Pieces) => count(&joined()),
            (true, Own::Bytes) => {
                let (whole, apart) = (count(&joined()), apart(texts(), &count));
                // More than that is no model's way to write, but a backend's to cut.
                if apart <= whole + whole / 4 + 8 { apart } else { whole }
            }
        };
        let left_out = (self.texts.len() - sample.len()) as u64 + self.left_out;
        let rest = left_out as f64 * counted as f64 / sample.len().max(1) as f64;
        self.at_its_end(counted.saturating_add(rest as u64))
    }

    fn at_its_end(&self, counted: u64) -> u64 {
        let all = self.limit.map(|limit| limit.saturating_mul(self.cut_off)).filter(|_| self.ended == 0);
        match all {
            // Close to the limit it was the limit that cut it off; else it may have been the end of the context.
            Some(all) if self.cut_off > 0 && all <= counted + counted / 4 + 8 => all,
            _ => counted.saturating_add(self.ended),
        }
    }
}

/// The tokens of texts one by one. Those of a stream are words, most of which come again.
fn apart<'texts>(texts: impl Iterator<Item = &'texts [u8]>, count: impl Fn(&str) -> u64) -> u64 {
    let mut known = HashMap::new();
    texts.map(|text| *known.entry(text).or_insert_with(|| count(&meaning(text)))).sum()
}
