//! Every token is counted once, priced right, and charged to its tenant, however its answer ends.
//!
//! The room stands below the breaker, so that it sees every call that is really made, repeated ones and hedges too, and
//! below the cache, so that what is known is still answered when the money is gone. A stream that would not say what it
//! used is asked to, and what it says is kept from a client who did not ask. What no backend says is counted with the
//! model's own tokenizer and marked as estimated: never as measured, and never as nothing.

pub mod advice;
mod bill;
pub mod books;
pub mod budgets;
mod busy;
pub mod config;
mod counted;
mod counting;
pub mod handover;
pub mod ledger;
mod meters;
pub mod prices;
mod renewal;
pub mod report;
pub mod wishes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;

use crate::charge::{self, Charged, Source};
use crate::refusal::{self, Reason};
use crate::reply::Body;
use crate::usage::Tally;
use crate::{Ask, Call, Filter, Next, Refusal, Reply, Route};
use bill::{Bill, Order, estimated, said};
pub use books::Books;
pub use config::Config;
use config::Unpriced;
use counted::{Counted, Hiding};
use ledger::Ended;

/// The header that says that tokens were counted here, and not by the backend.
const ESTIMATED: &str = "x-outrigger-tokens-estimated";

pub struct Cost(Arc<Books>);

impl Cost {
    pub fn new(books: Arc<Books>) -> Self {
        Cost(books)
    }

    async fn order(&self, ask: &Arc<Ask>, call: &Call) -> Order {
        let books = &self.0;
        let model = ask.question.model.as_deref().unwrap_or_default();
        let price = books.price(model, books.backend(call.backend).map_or("", |backend| &backend.name));
        // Counting costs time: only where money is held back for it, or where its cost is to be told at once.
        let counts = (price.is_some() && books.budgets.has_hard()) || wishes::asks_cost(ask.steering());
        let prompt = if counts { Some(books.tokenizers.count_prompt(ask).await) } else { None };
        Order { ask: ask.clone(), backend: call.backend, attempt: call.attempt, price, expected: 0, prompt }
    }
}

#[async_trait]
impl Filter for Cost {
    fn name(&self) -> &'static str {
        "cost"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        let books = &self.0;
        let call = *next.call();
        let mut order = self.order(&ask, &call).await;
        if order.price.is_none() && books.unpriced == Unpriced::Refuse {
            return Err(unpriced());
        }
        let held = books.reserve(&mut order).await.map_err(refused)?;
        let asks = ask.hides_usage() && books.backend(call.backend).is_some_and(|backend| backend.include_usage);
        let bill = Bill::open(books.clone(), order, held);
        let (trace, span) = next.trace();
        let trace = trace.clone();
        match next.with(Call { include_usage: asks, ..call }).run(ask.clone()).await {
            Ok(reply) => {
                trace.call(span).charged(&bill.charge);
                Ok(self.answered(&ask, bill, reply, if asks { Hiding::Usage } else { Hiding::Nothing }).await)
            }
            Err(refusal) => {
                failed(bill, &refusal.reason);
                Err(refusal)
            }
        }
    }
}

impl Cost {
    async fn answered(&self, ask: &Arc<Ask>, bill: Bill, mut reply: Reply, hiding: Hiding) -> Reply {
        let mut tally = Tally::of(ask, self.0.tokenizers.clone());
        if !reply.status.is_success() {
            // An error costs nothing, unless it says itself that it did.
            if let Body::Whole(bytes) = &reply.body {
                tally.event(&crate::Event { bytes: bytes.clone(), kind: crate::reply::Kind::Bytes });
            }
            match said(&tally, ask.route) {
                Some(used) => bill.pay(&used, Ended::Broken),
                None => bill.cancel(),
            }
            return reply;
        }
        reply.charge = Some(bill.charge.clone());
        match reply.body {
            Body::Events(events) => {
                reply.body = Body::Events(Box::pin(Counted::new(events, bill, tally, hiding)));
                reply
            }
            Body::Whole(bytes) => {
                tally.event(&crate::Event { bytes: bytes.clone(), kind: crate::reply::Kind::Bytes });
                reply.body = Body::Whole(bytes);
                self.settle(ask, bill, tally).await;
                tell(&mut reply);
                reply
            }
        }
    }

    /// Pays for an answer that is whole.
    async fn settle(&self, ask: &Arc<Ask>, bill: Bill, tally: Tally) {
        let mut whole = Whole(Some((bill, tally)));
        let Some((_, tally)) = &whole.0 else { return };
        let used = match said(tally, ask.route) {
            Some(used) => used,
            None => {
                let prompt = match tally.usage().and_then(|usage| usage.input) {
                    Some(input) => input,
                    None => self.0.tokenizers.count_prompt(ask).await,
                };
                let writes = ask.route != Route::Embeddings;
                estimated(Some(tally), prompt, if writes { tally.count_output().await } else { 0 })
            }
        };
        if let Some((bill, _)) = whole.0.take() {
            bill.pay(&used, Ended::Complete);
        }
    }
}

/// An answer that is there, while it is counted: who leaves meanwhile has had it.
struct Whole(Option<(Bill, Tally)>);

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some((bill, tally)) = self.0.take() {
            bill.pay_for(tally, Ended::Complete);
        }
    }
}

/// Says on a plain answer what it cost.
fn tell(reply: &mut Reply) {
    let Some(Charged { cost, source, .. }) = reply.charge.as_ref().and_then(|charge| charge.get()) else { return };
    if let Some(cost) = cost.and_then(|cost| HeaderValue::try_from(cost.to_string()).ok()) {
        reply.headers.insert(charge::HEADER, cost);
    }
    if *source == Source::Estimated {
        reply.headers.insert(ESTIMATED, HeaderValue::from_static("true"));
    }
}

/// A call without an answer: what was sent was read, unless it was never sent.
fn failed(bill: Bill, reason: &Reason) {
    match reason {
        Reason::BackendCut
        | Reason::AnswerCut
        | Reason::FirstTokenTimeout
        | Reason::AnswerTimeout
        | Reason::BackendNonsense => bill.pay_for_the_prompt(Ended::Broken),
        _ => bill.cancel(),
    }
}

fn refused(refused: budgets::Refused) -> Refusal {
    match refused {
        budgets::Refused::Exceeded(exceeded) => {
            let words = exceeded.to_client().into();
            let mut refusal = Refusal::because(Reason::QuotaExceeded(words), &exceeded);
            refusal::no_retry(refusal.headers_mut());
            refusal
        }
        budgets::Refused::Unknown { budget } => {
            let mut refusal = Refusal::from(Reason::BudgetUnknown(budget));
            refusal::retry_after(refusal.headers_mut(), Duration::from_secs(1));
            refusal
        }
    }
}

fn unpriced() -> Refusal {
    let mut refusal = Refusal::from(Reason::Unpriced);
    refusal::no_retry(refusal.headers_mut());
    refusal
}

#[cfg(test)]
mod tests;
