//! How a reply's body comes to its end, and what the ledger is told of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::ledger::Generation;

/// Between the last byte and the cut. The connection writes what it holds when the body has nothing
/// more to give for now; a cut in the same breath would take those bytes with it.
const CUT_DELAY: Duration = Duration::from_millis(2);

/// The error with which a body, or a whole response, is abandoned.
#[derive(Debug, thiserror::Error)]
#[error("the simulator cut this reply, as it was asked to")]
pub struct Cut;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The reply is complete.
    Finish,
    /// The reply ends in good order but lacks something: a planted fault.
    Fail,
    /// The connection is abandoned.
    Cut,
    /// Nothing more comes, until the client leaves.
    Hang,
}

pub struct Ending {
    manner: Manner,
    delay: Option<Pin<Box<Sleep>>>,
}

impl Ending {
    pub fn new(manner: Manner) -> Ending {
        Ending { manner, delay: None }
    }

    /// Books the end when the last byte is handed over; what hangs ends when the client leaves.
    pub fn book(&self, generation: &mut Generation) {
        match self.manner {
            Manner::Finish => generation.finish(),
            Manner::Fail | Manner::Cut => generation.fail(),
            Manner::Hang => generation.post(),
        }
    }

    /// Whether the body is over at once when its last byte is.
    pub fn is_clean(&self) -> bool {
        matches!(self.manner, Manner::Finish | Manner::Fail)
    }

    /// What the body answers after its last byte.
    pub fn poll<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, Cut>>> {
        match self.manner {
            Manner::Finish | Manner::Fail => Poll::Ready(None),
            Manner::Hang => Poll::Pending,
            Manner::Cut => {
                let delay = self.delay.get_or_insert_with(|| Box::pin(sleep(CUT_DELAY)));
                ready!(delay.as_mut().poll(context));
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }
}
