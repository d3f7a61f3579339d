//! Whose turn it is to answer new requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Not ours yet: another process still answers.
    NotYet,
    Ours,
    /// Another is about to take over; it will be known in a moment.
    Between,
    Theirs,
}

/// Shared by who brings it about and who waits for it.
#[derive(Clone)]
pub struct Turn(Arc<Inner>);

struct Inner {
    /// What every request asks first.
    ours: AtomicBool,
    whose: watch::Sender<Whose>,
}

impl Default for Turn {
    fn default() -> Self {
        Turn(Arc::new(Inner { ours: AtomicBool::new(false), whose: watch::Sender::new(Whose::NotYet) }))
    }
}

impl Turn {
    pub fn is_ours(&self) -> bool {
        self.0.ours.load(Ordering::Acquire)
    }

    pub fn whose(&self) -> Whose {
        *self.0.whose.borrow()
    }

    pub fn becomes(&self, whose: Whose) {
        self.0.ours.store(whose == Whose::Ours, Ordering::Release);
        self.0.whose.send_replace(whose);
    }

    /// Waits until it is ours or theirs; true if it is ours.
    pub async fn decided(&self) -> bool {
        self.until(|whose| matches!(whose, Whose::Ours | Whose::Theirs)).await == Whose::Ours
    }

    /// Waits until this process answers.
    pub async fn begun(&self) {
        self.until(|whose| whose != Whose::NotYet).await;
    }

    /// Waits until another one does.
    pub async fn passed(&self) {
        self.until(|whose| whose == Whose::Theirs).await;
    }

    async fn until(&self, wanted: impl Fn(Whose) -> bool) -> Whose {
        let mut watched = self.0.whose.subscribe();
        let found = watched.wait_for(|whose| wanted(*whose)).await.map(|whose| *whose);
        match found {
            Ok(whose) => whose,
            // Its sender lives as long as this does.
            Err(_) => std::future::pending().await,
        }
    }
}
