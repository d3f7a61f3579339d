//! Counts what backends did not say, on a thread of its own: no answer waits for it, and no worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::bill::{Closed, Order, Used, estimated};
use crate::ask::Route;
use crate::tokens::Tokenizers;
use crate::usage::Tally;

/// Calls that wait to be counted at most. Beyond it they are guessed at, by their length.
const MOST_WAITING: usize = 4096;
/// Bytes of their questions at most.
const MOST_BYTES: usize = 64 * 1024 * 1024;

pub struct Unsaid {
    pub closed: Closed,
    pub tally: Option<Tally>,
    /// Books it once it is counted.
    pub book: Book,
}

/// Writes a call down that is over.
pub type Book = Box<dyn FnOnce(Closed, &Used) + Send>;

enum Job {
    Count(Box<Unsaid>),
    /// Answered when all that came before is counted.
    Flush(SyncSender<()>),
}

pub struct Counting {
    sender: SyncSender<Job>,
    /// Bytes of the questions that wait.
    waiting: Arc<AtomicUsize>,
}

impl Counting {
    /// # Errors
    /// No thread can be had.
    pub fn start(tokenizers: Arc<Tokenizers>) -> std::io::Result<Self> {
        let (sender, jobs) = sync_channel(MOST_WAITING);
        let waiting = Arc::<AtomicUsize>::default();
        let counted = waiting.clone();
        std::thread::Builder::new().name("costs".to_owned()).spawn(move || run(&jobs, &tokenizers, &counted))?;
        Ok(Counting { sender, waiting })
    }

    pub fn count(&self, unsaid: Unsaid) {
        let bytes = unsaid.closed.open.order.ask.body.len();
        let before = self.waiting.fetch_add(bytes, Ordering::AcqRel);
        if before > 0 && before + bytes > MOST_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::AcqRel);
            return guess(unsaid);
        }
        match self.sender.try_send(Job::Count(Box::new(unsaid))) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.waiting.fetch_sub(bytes, Ordering::AcqRel);
                if let Job::Count(unsaid) = job {
                    guess(*unsaid);
                }
            }
        }
    }

    /// Waits until all is counted that has come until now, for so long; whether it is. Blocks.
    pub fn flush(&self, most: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.sender.send(Job::Flush(done)).is_ok() && wait.recv_timeout(most).is_ok()
    }
}

/// By what was seen in passing: four bytes a token of the prompt, as OpenAI's guide says, and a token a piece.
fn guess(unsaid: Unsaid) {
    let Unsaid { closed, tally, book } = unsaid;
    let order = &closed.open.order;
    let prompt = order.prompt.unwrap_or(order.ask.body.len() as u64 / 4);
    let used = estimated(tally.as_ref(), prompt, closed.open.pieces());
    book(closed, &used);
}

fn run(jobs: &Receiver<Job>, tokenizers: &Tokenizers, waiting: &AtomicUsize) {
    for job in jobs {
        match job {
            Job::Flush(done) => drop(done.send(())),
            Job::Count(unsaid) => {
                let Unsaid { closed, tally, book } = *unsaid;
                let order = &closed.open.order;
                waiting.fetch_sub(order.ask.body.len(), Ordering::AcqRel);
                let count = AssertUnwindSafe(|| count(order, tally.as_ref(), tokenizers));
                let Ok(used) = catch_unwind(count) else {
                    tracing::error!("a tokenizer failed; what it was to count is guessed at");
                    guess(Unsaid { closed, tally, book });
                    continue;
                };
                book(closed, &used);
            }
        }
    }
}

fn count(order: &Order, tally: Option<&Tally>, tokenizers: &Tokenizers) -> Used {
    let said = tally.and_then(Tally::usage).unwrap_or_default();
    let prompt = said.input.or(order.prompt).unwrap_or_else(|| tokenizers.prompt(&order.ask));
    let counts = said.output.is_none() && order.ask.route != Route::Embeddings;
    let output = tally.filter(|_| counts).map_or(0, Tally::output_in_all);
    estimated(tally, prompt, output)
}
