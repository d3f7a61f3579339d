//! What was made anew under newer settings, for whoever outlives a reload.
//!
//! A reload changes nothing that a request looks at. It makes the parts of the chain anew, each from the one before, which hands
//! on all that is to survive: what was charged, what is open, what was learned. A request keeps to the part that it began
//! with. What goes on behind the requests, and the instruments, ask here for the one that holds now.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwapWeak;

/// The newest of a line of parts. It keeps none of them alive.
pub struct Newest<T>(ArcSwapWeak<T>);

impl<T> Newest<T> {
    /// Of a line that begins with what is being made.
    pub fn of(first: &Weak<T>) -> Arc<Self> {
        Arc::new(Newest(ArcSwapWeak::new(first.clone())))
    }

    /// From now on it is this one.
    pub fn set(&self, newest: &Arc<T>) {
        self.0.store(Arc::downgrade(newest));
    }

    /// None once nobody uses it any more.
    pub fn get(&self) -> Option<Arc<T>> {
        self.0.load().upgrade()
    }

    pub fn is(&self, one: &T) -> bool {
        std::ptr::eq(self.0.load().as_ptr(), one)
    }
}
