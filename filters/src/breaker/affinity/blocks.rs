//! The beginning of a prompt as a few hashes, each of all the text up to the end of its block.
//!
//! - A block ends after 2,048 bytes, about 512 tokens. One more ends with the opening: the first message of the user.
//!   That far a conversation stays the same however long it gets, and that far it differs from others, so that a
//!   prefix can always tell them apart: the last block reaches to the end of the opening, however long that is.
//!   Behind it only whole blocks count, for one that is still growing has another hash with each turn.
//! - The model's name is no part of it: which backends have the model is known before.
//!
//! The hashes are the same in every process, so that all sidecars find the same backend. Whoever makes two prompts
//! with the same hash on purpose has both sent to the same backend, which is no harm; they decide nothing else.

use serde::Deserializer as _;
use twox_hash::XxHash3_128;

use super::walk::Root;
use crate::Ask;

pub const BLOCK_BYTES: usize = 2048;
const MOST_BLOCKS: usize = 8;
/// As far into the text the end of the opening is looked for.
const MOST_BYTES: usize = 256 << 10;

/// The hashes of a prompt's leading blocks; nothing of the text itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    hashes: [u64; MOST_BLOCKS],
    count: usize,
}

impl Blocks {
    /// The body is known to be JSON; where it is not what its API asks for, there may be no blocks.
    pub fn of(ask: &Ask) -> Self {
        let mut cut = Cut::default();
        // An error ends the walk, most often because enough was read: what was cut until there counts.
        let _ =
            serde_json::Deserializer::from_slice(&ask.body).deserialize_map(Root { route: ask.route, cut: &mut cut });
        cut.finish()
    }

    /// Of a trace that tells the hash of each block, with all that stands before it.
    pub fn from_hashes(hashes: &[u64]) -> Self {
        let mut blocks = Blocks::default();
        let mut chain = 0u64;
        for hash in hashes.iter().take(MOST_BLOCKS) {
            chain = XxHash3_128::oneshot_with_seed(chain, &hash.to_le_bytes()) as u64;
            blocks.push(chain);
        }
        blocks
    }

    pub fn hashes(&self) -> &[u64] {
        &self.hashes[..self.count]
    }

    fn push(&mut self, hash: u64) {
        if let Some(free) = self.hashes.get_mut(self.count) {
            *free = hash;
            self.count += 1;
        }
    }
}

/// Cuts text into blocks as it comes.
#[derive(Default)]
pub(super) struct Cut {
    blocks: Blocks,
    /// Of all text up to here: each piece is hashed with the hash of those before as its seed.
    chain: u64,
    bytes: usize,
    /// Bytes in the block that is being filled.
    in_block: usize,
    opening_ended: bool,
}

impl Cut {
    pub(super) fn text(&mut self, mut text: &[u8]) {
        while !text.is_empty() && !self.is_full() {
            let last = self.blocks.count == MOST_BLOCKS - 1 && !self.opening_ended;
            let room = if last { MOST_BYTES - self.bytes } else { BLOCK_BYTES - self.in_block };
            let (piece, rest) = text.split_at(text.len().min(room));
            self.chain = XxHash3_128::oneshot_with_seed(self.chain, piece) as u64;
            self.bytes += piece.len();
            self.in_block += piece.len();
            if piece.len() == room {
                self.end_block();
            }
            text = rest;
        }
    }

    fn end_block(&mut self) {
        self.blocks.push(self.chain);
        self.in_block = 0;
    }

    pub(super) fn end_opening(&mut self) {
        if !self.opening_ended && self.in_block > 0 {
            self.end_block();
        }
        self.opening_ended = true;
    }

    pub(super) fn is_full(&self) -> bool {
        self.blocks.count == MOST_BLOCKS
    }

    /// A prompt without messages is its own opening.
    fn finish(mut self) -> Blocks {
        self.end_opening();
        self.blocks
    }
}
