//! What runs or is open holds a guard; whoever drops it, the ledger hears of the end.

use std::sync::Arc;

use super::{Ledger, Status, Tokens};

/// When a generation says what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Never,
    AtTheEnd,
    Already,
}

/// A running generation. Dropped before `finish` or `fail`, it was cancelled.
#[derive(Debug)]
pub struct Generation {
    ledger: Arc<Ledger>,
    number: u64,
    prompt_tokens: u64,
    tokens_sent: u64,
    told: Told,
    ended: bool,
}

impl Generation {
    pub(super) fn new(ledger: Arc<Ledger>, number: u64) -> Generation {
        Generation { ledger, number, prompt_tokens: 0, tokens_sent: 0, told: Told::Never, ended: false }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn read(&mut self, prompt_tokens: u64) {
        self.prompt_tokens = prompt_tokens;
    }

    /// Its usage has been said, or will have been once it is finished.
    pub fn tells(&mut self, told: Told) {
        self.told = told;
    }

    pub fn sent(&mut self, tokens: u64) {
        self.tokens_sent = tokens;
    }

    /// Shows in the log how far an active generation has come; for moments when it waits anyway.
    pub fn post(&self) {
        self.ledger.progress(self.number, self.tokens_sent);
    }

    pub fn finish(&mut self) {
        self.end(Status::Finished);
    }

    pub fn fail(&mut self) {
        self.end(Status::Failed);
    }

    fn end(&mut self, status: Status) {
        if !self.ended {
            self.ended = true;
            let told = self.told == Told::Already || (self.told == Told::AtTheEnd && status == Status::Finished);
            let tokens = Tokens { generations: 1, input: self.prompt_tokens, output: self.tokens_sent };
            self.ledger.end(self.number, tokens, status, told);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.end(Status::Cancelled);
    }
}

/// A connection counts as open for as long as this lives.
#[derive(Debug)]
pub struct OpenConnection {
    ledger: Arc<Ledger>,
}

impl OpenConnection {
    pub(super) fn new(ledger: Arc<Ledger>) -> OpenConnection {
        OpenConnection { ledger }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.ledger.close_connection();
    }
}
