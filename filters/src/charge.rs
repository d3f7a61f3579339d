//! What an answer cost, as the room `cost` found it: for the rooms above, and for whoever writes the answer.
//!
//! It is known at the answer's end at the latest, and a little after it where tokens have to be counted.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::Ask;
use crate::money::Money;
use crate::usage::Tokens;

/// The header that says what an answer cost, in dollars.
pub const HEADER: &str = "x-outrigger-cost-usd";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    pub tokens: Tokens,
    /// None where no price is known.
    pub cost: Option<Money>,
    pub source: Source,
}

/// Whose word the tokens are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The backend's own.
    Measured,
    /// Counted here, since the backend did not say, or not all.
    Estimated,
}

type Wanting = Box<dyn FnOnce(&Charged) + Send>;

/// A place for the charge; all copies are one place.
#[derive(Clone, Default)]
pub struct Charge(Arc<Place>);

#[derive(Default)]
struct Place {
    known: OnceLock<Charged>,
    wanting: Mutex<Vec<Wanting>>,
}

impl Charge {
    pub fn known(charged: Charged) -> Self {
        let charge = Charge::default();
        charge.fill(charged);
        charge
    }

    pub fn get(&self) -> Option<&Charged> {
        self.0.known.get()
    }

    /// Makes it known, once; what comes later is not heard.
    pub fn fill(&self, charged: Charged) {
        if self.0.known.set(charged).is_ok() {
            let wanting = std::mem::take(&mut *self.0.wanting.lock().unwrap_or_else(PoisonError::into_inner));
            wanting.into_iter().for_each(|told| told(&charged));
        }
    }

    /// Calls back as soon as it is known: at once, later, or never, if what would make it known is let go.
    pub fn when_known(&self, told: impl FnOnce(&Charged) + Send + 'static) {
        let mut wanting = self.0.wanting.lock().unwrap_or_else(PoisonError::into_inner);
        match self.get() {
            // Whoever fills it takes the lock after it is filled, and finds what was left here before.
            None => wanting.push(Box::new(told)),
            Some(charged) => {
                drop(wanting);
                told(charged);
            }
        }
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Charge").field(&self.get()).finish()
    }
}

/// The rooms that save calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saver {
    Cache,
    Dedup,
}

/// Keeps the books of what was not spent.
pub trait Savings: Send + Sync + 'static {
    /// So many calls like this were not made.
    fn saved(&self, by: Saver, ask: &Ask, tokens: &Tokens, calls: u64);
}

/// Keeps none.
impl Savings for () {
    fn saved(&self, _by: Saver, _ask: &Ask, _tokens: &Tokens, _calls: u64) {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn charged(nanos: u64) -> Charged {
        Charged { tokens: Tokens::default(), cost: Some(Money::from_nanos(nanos)), source: Source::Measured }
    }

    #[test]
    fn who_wants_to_know_is_told_once_before_or_after() {
        let (charge, sum) = (Charge::default(), Arc::new(AtomicU64::new(0)));
        let told = || {
            let sum = sum.clone();
            move |charged: &Charged| {
                sum.fetch_add(charged.cost.unwrap().nanos(), Ordering::SeqCst);
            }
        };
        charge.when_known(told());
        assert_eq!(charge.get(), None);
        charge.fill(charged(3));
        charge.fill(charged(100));
        charge.clone().when_known(told());
        assert_eq!((sum.load(Ordering::SeqCst), charge.get()), (6, Some(&charged(3))));
    }
}
