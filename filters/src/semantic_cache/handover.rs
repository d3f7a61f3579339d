//! The folder of kept answers, when another process takes this one's place: it has one owner at a time.

use std::os::fd::BorrowedFd;

use super::Cache;

impl Cache {
    /// The lock on the disk's folder, for the process that opens it beside this one.
    pub fn lock_file(&self) -> Option<BorrowedFd<'_>> {
        self.places.lock_file()
    }

    /// Leaves the disk to another process; what is in memory and in Redis is answered further.
    pub async fn rest(&self) {
        self.places.rest().await;
    }

    /// The other process has failed: the disk is this one's again.
    pub fn wake(&self) {
        self.places.wake();
    }
}
