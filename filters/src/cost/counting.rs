//! Counts what backends did not say, on a thread of its own: no answer waits for it, and no worker.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::bill::{Closed, Used, estimated};
use crate::ask::Route;
use crate::tokens::Tokenizers;
use crate::usage::Tally;

/// Calls that wait to be counted at most. Beyond it they are guessed at, by their length.
const MOST_WAITING: usize = 4096;

pub struct Unsaid {
    pub closed: Closed,
    pub tally: Option<Tally>,
    /// Books it once it is counted.
    pub book: Box<dyn FnOnce(Closed, &Used) + Send>,
}

enum Job {
    Count(Box<Unsaid>),
    /// Answered when all that came before is counted.
    Flush(SyncSender<()>),
}

pub struct Counting(SyncSender<Job>);

impl Counting {
    /// # Errors
    /// No thread can be had.
    pub fn start(tokenizers: Arc<Tokenizers>) -> std::io::Result<Self> {
        let (sender, jobs) = sync_channel(MOST_WAITING);
        std::thread::Builder::new().name("costs".to_owned()).spawn(move || run(&jobs, &tokenizers))?;
        Ok(Counting(sender))
    }

    pub fn count(&self, unsaid: Unsaid) {
        let back = match self.0.try_send(Job::Count(Box::new(unsaid))) {
            Ok(()) => return,
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
        };
        if let Job::Count(unsaid) = back {
            let Unsaid { closed, tally, book } = *unsaid;
            // Four bytes a token, as OpenAI's guide says.
            let prompt = closed.open.order.ask.body.len() as u64 / 4;
            let used = estimated(tally.as_ref(), prompt, 0);
            book(closed, &used);
        }
    }

    /// Waits until all is counted that has come until now. Blocks.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.0.send(Job::Flush(done)).is_ok() {
            // An error is a thread that has ended: nothing is left to wait for.
            let _ = wait.recv();
        }
    }
}

fn run(jobs: &Receiver<Job>, tokenizers: &Tokenizers) {
    for job in jobs {
        match job {
            Job::Flush(done) => drop(done.send(())),
            Job::Count(unsaid) => {
                let Unsaid { closed, tally, book } = *unsaid;
                let order = &closed.open.order;
                let said = tally.as_ref().and_then(Tally::usage).unwrap_or_default();
                let prompt = match (said.input, order.prompt) {
                    (Some(input), _) => input,
                    (None, Some(counted)) => counted,
                    (None, None) => tokenizers.prompt(&order.ask),
                };
                let counts = said.output.is_none() && order.ask.route != Route::Embeddings;
                let output = tally.as_ref().filter(|_| counts).map_or(0, Tally::output_so_far);
                let used = estimated(tally.as_ref(), prompt, output);
                book(closed, &used);
            }
        }
    }
}
