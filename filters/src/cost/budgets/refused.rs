//! Why a call may not be paid for.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::period::Millis;
use crate::money::Money;

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// The store that sidecars share cannot be asked, and the budget is closed then.
    #[error("what is left of the budget `{budget}` is not known at the moment")]
    Unknown { budget: Arc<str> },
}

impl Refused {
    pub fn budget(&self) -> &Arc<str> {
        match self {
            Refused::Exceeded(exceeded) => &exceeded.budget,
            Refused::Unknown { budget } => budget,
        }
    }
}

/// A budget that a call does not fit in.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Exceeded {
    pub budget: Arc<str>,
    /// Whose spending it counts together, as the settings call it.
    pub scope: &'static str,
    pub period: &'static str,
    pub why: Why,
    pub amount: Money,
    pub spent: Money,
    /// For calls whose cost is not known yet.
    pub reserved: Money,
    pub requested: Money,
    /// When it begins anew, in milliseconds since 1970; never if none.
    pub ends: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is not so much left.
    Spent,
    /// The call alone may cost more than the whole budget: it will never fit.
    Larger,
    /// Sidecars cannot ask each other, and this one has spent its share of what was left.
    Share,
}

impl Exceeded {
    /// When it begins anew, as RFC 3339 writes it.
    pub fn ends_at(&self) -> Option<String> {
        Some(Timestamp::from_millisecond(self.ends?).ok()?.to_string())
    }
}

impl Exceeded {
    /// The same for whoever asked. What others have spent from a budget that is shared is none of his business.
    pub fn to_client(&self) -> String {
        if self.scope.starts_with("tenant") || self.why == Why::Larger {
            return self.to_string();
        }
        let again = self.ends_at().map_or_else(String::new, |ends| format!("; it begins anew at {ends}"));
        format!("the budget `{}` (by {}, {}) does not hold this request{again}", self.budget, self.scope, self.period)
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceeded { budget, scope, period, amount, spent, reserved, requested, .. } = self;
        let whole = format!("the budget `{budget}` (by {scope}, {period}) of ${amount}");
        match self.why {
            Why::Larger => {
                return write!(out, "this request may cost ${requested}, which is more than all of {whole}");
            }
            Why::Spent => write!(out, "{whole} does not hold this request")?,
            Why::Share => write!(out, "this sidecar's share of {whole} does not hold this request")?,
        }
        write!(out, ": ${spent} are spent, ${reserved} reserved, and it may cost ${requested}")?;
        self.ends_at().map_or(Ok(()), |ends| write!(out, "; it begins anew at {ends}"))
    }
}
