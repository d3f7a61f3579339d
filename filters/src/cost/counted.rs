//! A streamed answer, counted as it goes by: nothing is changed but that what is only for us is marked so.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::bill::Bill;
use super::ledger::Ended;
use crate::reply::{Broken, Kind};
use crate::usage::Tally;
use crate::{Batch, Event, Events, sse};

pub struct Counted {
    events: Events,
    /// None once it is paid.
    open: Option<Open>,
    hiding: Hiding,
}

struct Open {
    bill: Bill,
    tally: Tally,
}

/// Whether the chunk that says the usage is for us alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hiding {
    Usage,
    Nothing,
}

impl Counted {
    pub fn new(events: Events, bill: Bill, tally: Tally, hiding: Hiding) -> Self {
        Counted { events, open: Some(Open { bill, tally }), hiding }
    }

    fn see(&mut self, batch: &mut Batch) {
        let mut over = false;
        for event in batch.iter_mut() {
            if let Some(open) = &mut self.open {
                open.see(event);
            }
            if self.hiding == Hiding::Usage && event.kind == Kind::Data && sse::is_usage(&event.bytes) {
                event.kind = Kind::Usage;
            }
            over |= event.kind == Kind::Last;
        }
        // Nothing follows: who writes that to the client may want to say what it cost.
        if over {
            self.end(Ended::Complete);
        }
    }

    fn end(&mut self, end: Ended) {
        if let Some(Open { bill, tally }) = self.open.take() {
            bill.pay_for(tally, end);
        }
    }
}

impl Open {
    fn see(&mut self, event: &Event) {
        self.tally.event(event);
        if event.kind == Kind::Data {
            self.bill.token();
        }
    }
}

impl Stream for Counted {
    type Item = Result<Batch, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut next = self.events.as_mut().poll_next(context);
        match &mut next {
            Poll::Ready(Some(Ok(batch))) => self.see(batch),
            Poll::Ready(Some(Err(_))) => self.end(Ended::Broken),
            Poll::Ready(None) => self.end(Ended::Complete),
            Poll::Pending => {}
        }
        next
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end(Ended::Abandoned);
    }
}
