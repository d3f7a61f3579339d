//! What another process takes over of the books when it takes this one's place.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::books::Books;
use super::{budgets, ledger};

/// Who is told what calls in flight come to. It must not wait.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    budgets: budgets::handover::State,
    ledger: ledger::handover::State,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum News {
    Budgets(budgets::handover::News),
    Ledger(ledger::handover::News),
}

impl Books {
    /// The lock on the ledger's file, for the process that opens it beside this one.
    pub fn lock_file(&self) -> Option<BorrowedFd<'_>> {
        self.ledger.lock_file()
    }

    /// The moment: gives what the other process is to know, and tells it all that comes later. Blocks.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn hand_over(&self, tell: &Tell) -> Result<State, ledger::Error> {
        let (to_ledger, to_budgets) = (tell.clone(), tell.clone());
        let ledger = self.ledger.hand_over(Box::new(move |news| to_ledger(News::Ledger(news))))?;
        let budgets = self.budgets.hand_over(Box::new(move |news| to_budgets(News::Budgets(news))));
        Ok(State { budgets, ledger })
    }

    /// The other process has failed before it answered anybody.
    pub fn take_back(&self) {
        self.ledger.take_back();
        self.budgets.take_back();
    }

    /// Takes over what another process knew, before the first request.
    ///
    /// # Errors
    /// What it had in memory is no ledger.
    pub fn inherit(&self, state: State) -> Result<(), ledger::Error> {
        self.ledger.inherit(state.ledger)?;
        self.budgets.inherit(state.budgets);
        Ok(())
    }

    /// What the process before this one tells.
    pub fn hear(&self, news: News) {
        match news {
            News::Budgets(news) => self.budgets.hear(news),
            News::Ledger(news) => self.ledger.hear(news),
        }
    }
}
