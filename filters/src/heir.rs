//! Who is told what becomes of things in flight, once another process has taken this one's place.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// It must not wait.
pub type Tell<News> = Box<dyn Fn(News) + Send + Sync>;

/// Nobody, until the moment has come.
pub struct Heir<News>(RwLock<Option<Tell<News>>>);

impl<News> Default for Heir<News> {
    fn default() -> Self {
        Heir(RwLock::new(None))
    }
}

impl<News> Heir<News> {
    /// Held while something is counted or settled, so that the moment comes before or after all of it.
    pub fn now(&self) -> RwLockReadGuard<'_, Option<Tell<News>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while it is the moment.
    pub fn moment(&self) -> RwLockWriteGuard<'_, Option<Tell<News>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
