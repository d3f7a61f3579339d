//! Every token is counted once, priced right, and charged to its tenant.

pub mod advice;
pub mod budgets;
pub mod ledger;
pub mod prices;
pub mod wishes;
