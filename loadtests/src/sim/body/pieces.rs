//! A JSON reply that comes in pieces, or not whole.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::sim::controls::Fault;
use crate::sim::ending::{Cut, Ending, Manner};
use crate::sim::ledger::Generation;
use crate::sim::pace::Pace;

/// How many pieces a slow body comes in.
const SLOW_PIECES: usize = 16;

/// The promise of a short body beyond what it sends.
const MISSING_BYTES: usize = 64;

pub struct Pieces {
    generation: Generation,
    pieces: VecDeque<Bytes>,
    handed: u64,
    pace: Pace,
    ending: Ending,
    content_length: usize,
}

impl Pieces {
    /// The reply as the fault leaves it; `gap` parts the pieces of a slow one.
    pub fn planted(fault: Fault, json: Bytes, generation: Generation, gap: Duration) -> Pieces {
        let half = json.slice(..json.len() / 2);
        let length = json.len();
        let piece_length = length.div_ceil(SLOW_PIECES).max(1);
        let (pieces, content_length, manner): (Vec<Bytes>, usize, Manner) = match fault {
            Fault::CutHead => (vec![], length, Manner::Cut),
            Fault::Cut => (vec![half], length, Manner::Cut),
            Fault::StallAfter => (vec![half], length, Manner::Hang),
            Fault::ShortBody => (vec![json], length + MISSING_BYTES, Manner::Cut),
            Fault::BadJson => (vec![half.clone()], half.len(), Manner::Finish),
            Fault::SlowBody => {
                let starts = (0..length).step_by(piece_length);
                let pieces = starts.map(|start| json.slice(start..length.min(start + piece_length)));
                (pieces.collect(), length, Manner::Finish)
            }
            _ => (vec![json], length, Manner::Finish),
        };
        Pieces {
            generation,
            pieces: pieces.into(),
            handed: 0,
            pace: Pace::new(Instant::now(), Duration::ZERO, gap),
            ending: Ending::new(manner),
            content_length,
        }
    }

    pub fn content_length(&self) -> usize {
        self.content_length
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if !self.pieces.is_empty() {
            ready!(self.pace.poll_due(self.handed, context));
        }
        let piece = self.pieces.pop_front();
        self.handed += 1;
        if self.pieces.is_empty() {
            self.ending.book(&mut self.generation);
        }
        match piece {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => self.ending.poll(context),
        }
    }

    pub fn is_over(&self) -> bool {
        self.pieces.is_empty() && self.ending.is_clean()
    }
}
