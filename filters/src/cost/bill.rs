//! One call until it is paid: what it holds of the budgets, its price, and what it used in the end.
//!
//! Dropped unpaid it was abandoned: its prompt was read, and is paid for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::books::Books;
use super::budgets::Reservation;
use super::busy::Shift;
use super::ledger::Ended;
use super::prices::{Price, Use};
use super::wishes;
use crate::Ask;
use crate::ask::Route;
use crate::charge::{Charge, Source};
use crate::money::Money;
use crate::usage::{Tally, Tokens, Usage};

/// What is known of a call before it is made.
pub struct Order {
    pub ask: Arc<Ask>,
    /// The backend's place among the settings'.
    pub backend: usize,
    pub attempt: u32,
    /// None where no price is known.
    pub price: Option<Arc<Price>>,
    /// The tokens of the answer that money is held for; more will be, if more come.
    pub expected: u64,
    /// The tokens of the prompt, where they had to be counted before.
    pub prompt: Option<u64>,
}

pub struct Bill {
    books: Arc<Books>,
    /// None once it is paid.
    open: Option<Box<Open>>,
    pub charge: Charge,
}

/// What is left to be settled.
pub struct Open {
    pub order: Order,
    pub held: Option<Reservation>,
    pub begun: Instant,
    pub first_token: Option<Duration>,
    /// Pieces of the answer that have come.
    tokens: u64,
    /// Its time on the machine, where that is what it is paid by.
    shift: Option<Shift>,
    pub charge: Charge,
}

/// A call that is over.
pub struct Closed {
    pub open: Box<Open>,
    pub end: Ended,
    pub took: Duration,
    /// Its share of the machine's time.
    pub busy: Duration,
}

/// What it used, and whose word that is.
#[derive(Clone, Copy)]
pub struct Used {
    pub usage: Usage,
    pub tokens: Tokens,
    pub source: Source,
}

impl Bill {
    pub fn open(books: Arc<Books>, order: Order, held: Option<Reservation>) -> Self {
        let shift =
            order.price.as_ref().filter(|price| price.is_by_time()).and_then(|_| books.begin_shift(order.backend));
        let charge = Charge::default();
        let open =
            Open { order, held, begun: Instant::now(), first_token: None, tokens: 0, shift, charge: charge.clone() };
        Bill { books, open: Some(Box::new(open)), charge }
    }

    /// A piece of the answer has come.
    pub fn token(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.first_token.is_none() {
            open.first_token = Some(open.begun.elapsed());
        }
        open.tokens += 1;
        if open.tokens > open.order.expected && open.held.is_some() {
            open.outgrow();
        }
    }

    /// The backend was never asked, or has said no: nothing is owed.
    pub fn cancel(mut self) {
        if let Some(held) = self.open.take().and_then(|open| open.held) {
            held.settle(Money::ZERO);
        }
    }

    /// The end of an answer: by the backend's word where it gave one, else as counted, which may be a little later.
    pub fn pay_for(mut self, tally: Tally, end: Ended) {
        let Some(open) = self.open.take() else { return };
        let closed = open.close(end);
        let order = &closed.open.order;
        match (said(&tally, order.ask.route), order.prompt) {
            (Some(used), _) => self.books.book(closed, &used),
            // Its client waits to be told.
            (None, Some(prompt)) if end == Ended::Complete && wishes::asks_cost(order.ask.steering()) => {
                let used = estimated(Some(&tally), prompt, tally.output_so_far());
                self.books.book(closed, &used);
            }
            (None, _) => self.books.count_and_book(closed, Some(tally)),
        }
    }

    /// The same with what was counted already.
    pub fn pay(mut self, used: &Used, end: Ended) {
        if let Some(open) = self.open.take() {
            self.books.book(open.close(end), used);
        }
    }

    /// Something came between, after the prompt was sent.
    pub fn pay_for_the_prompt(mut self, end: Ended) {
        if let Some(open) = self.open.take() {
            self.books.count_and_book(open.close(end), None);
        }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            self.books.count_and_book(open.close(Ended::Abandoned), None);
        }
    }
}

impl Open {
    /// The answer takes more than was held for: so that budgets do not overshoot, twice as much is held.
    #[cold]
    fn outgrow(&mut self) {
        self.order.expected = self.tokens.saturating_mul(2);
        let tokens = Tokens { input: self.order.prompt.unwrap_or(0), output: self.order.expected, ..Tokens::default() };
        if let (Some(held), Some(price)) = (&mut self.held, &self.order.price) {
            let service = self.order.ask.question.service.unwrap_or_default();
            held.grow(price.cost(&Use { tokens, service, ..Use::default() }));
        }
    }

    /// Pieces of the answer that have come.
    pub const fn pieces(&self) -> u64 {
        self.tokens
    }

    fn close(mut self: Box<Self>, end: Ended) -> Closed {
        let took = self.begun.elapsed();
        let busy = self.shift.take().map_or(Duration::ZERO, |shift| shift.share());
        Closed { open: self, end, took, busy }
    }
}

/// What the backend says that an answer used, if it has said all of it.
pub fn said(tally: &Tally, route: Route) -> Option<Used> {
    let usage = tally.usage()?;
    usage.input?;
    if route != Route::Embeddings {
        usage.output?;
    }
    Some(Used { usage, tokens: usage.tokens(0, 0), source: Source::Measured })
}

/// What it did not say is put in as counted.
pub fn estimated(tally: Option<&Tally>, prompt: u64, output: u64) -> Used {
    let usage = tally.and_then(Tally::usage).unwrap_or_default();
    Used { usage, tokens: usage.tokens(prompt, output), source: Source::Estimated }
}
