//! Says of a chat stream whether it is what one generation said: nothing lost, repeated, reordered or crossed.
//!
//! The simulator's token `i` of generation `n` reads `"n.i "`, and its finish chunk carries the number
//! of tokens and the hash of their text. The check is fed the raw bytes as they come, in any chunks,
//! and keeps no more of them than one line; text that one token shares with several chunks, or several
//! tokens with one, is put together first.

mod order;
mod wire;

use sha2::{Digest, Sha256};

use order::Order;
use wire::{Chunk, Lines, Sim};

/// What became of a stream. Where several things are wrong, the gravest is told: the order is that of
/// [`StreamCheck::verdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every token of one generation, once, in order, with the right hash and a proper end.
    Whole {
        generation: u64,
        tokens: u64,
    },
    /// Tokens are missing though later ones came, or though the stream says that it is complete.
    Lost {
        first: u64,
    },
    Repeated {
        index: u64,
    },
    /// A token came after a later one.
    Reordered {
        index: u64,
    },
    /// A token of another generation came.
    Crossed {
        expected: u64,
        found: u64,
    },
    /// The stream ended before its finish chunk or before `[DONE]`.
    Truncated {
        tokens: u64,
    },
    HashMismatch {
        expected: String,
        found: String,
    },
    /// The stream carries an error, as proxies and servers send it after the head.
    ErrorEvent {
        message: String,
    },
    /// Something that is no event, no chunk, or no token.
    Malformed {
        what: String,
    },
}

#[derive(Default)]
pub struct StreamCheck {
    lines: Lines,
    order: Order,
    hash: Sha256,
    /// The part of a token that has come so far.
    partial: String,
    sim: Option<Sim>,
    finished: bool,
    done: bool,
    error: Option<String>,
    malformed: Option<String>,
}

impl StreamCheck {
    pub fn new() -> StreamCheck {
        StreamCheck::default()
    }

    /// Takes the next bytes of the response's body.
    pub fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = self.lines.push(part) {
                self.line(&line);
            }
        }
    }

    /// Whole tokens that have come so far.
    pub fn tokens(&self) -> u64 {
        self.order.seen()
    }

    /// The generation that the tokens so far are of, once the first has come.
    pub fn generation(&self) -> Option<u64> {
        self.order.generation()
    }

    /// Whether `[DONE]` has come: a client need not wait for the end of the body.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The verdict, once the body has ended, however it ended.
    pub fn verdict(self) -> Verdict {
        let tokens = self.order.seen();
        let found = hex::encode(self.hash.finalize());
        let generation = self.sim.as_ref().map(|sim| sim.generation);
        if let Some((expected, found)) = self.order.crossed(generation) {
            return Verdict::Crossed { expected, found };
        }
        if let Some(message) = self.error {
            return Verdict::ErrorEvent { message };
        }
        if let Some(what) = self.malformed {
            return Verdict::Malformed { what };
        }
        if let Some(index) = self.order.repeated() {
            return Verdict::Repeated { index };
        }
        let promised = self.sim.as_ref().map_or(0, |sim| sim.tokens);
        if let Some(first) = self.order.lost(promised) {
            return Verdict::Lost { first };
        }
        if let Some(index) = self.order.reordered() {
            return Verdict::Reordered { index };
        }
        match self.sim {
            Some(sim) if self.finished && self.done && self.partial.is_empty() => {
                if sim.sha256 == found && sim.tokens == tokens {
                    Verdict::Whole { generation: sim.generation, tokens }
                } else {
                    Verdict::HashMismatch { expected: sim.sha256, found }
                }
            }
            _ => Verdict::Truncated { tokens },
        }
    }

    fn line(&mut self, line: &[u8]) {
        match wire::read(line) {
            Ok(Chunk::Nothing) => {}
            Ok(_) if self.done => self.complain("something came after [DONE]"),
            Ok(Chunk::Done) => self.done = true,
            Ok(Chunk::Error(message)) => self.error = self.error.take().or(Some(message)),
            Ok(Chunk::Delta { content, finished, sim }) => {
                self.text(&content);
                self.finished |= finished;
                self.sim = sim.or(self.sim.take());
            }
            Err(what) => self.complain(&what),
        }
    }

    fn text(&mut self, text: &str) {
        self.hash.update(text);
        for part in text.split_inclusive(' ') {
            self.partial.push_str(part);
            if !part.ends_with(' ') {
                return;
            }
            match token(&self.partial) {
                Some((generation, index)) => self.order.token(generation, index),
                None => self.complain(&format!("{:?} is no token", self.partial)),
            }
            self.partial.clear();
        }
    }

    /// The first complaint stays: what follows is often its consequence.
    fn complain(&mut self, what: &str) {
        self.malformed.get_or_insert_with(|| what.to_owned());
    }
}

/// Reads `"generation.index "`.
fn token(text: &str) -> Option<(u64, u64)> {
    let (generation, index) = text.strip_suffix(' ')?.split_once('.')?;
    Some((generation.parse().ok()?, index.parse().ok()?))
}

#[cfg(test)]
mod tests;
