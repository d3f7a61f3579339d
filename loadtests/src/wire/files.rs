//! Open files: a connection is one, and the soft limit is often a thousand.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept free of connections: the runtime's own, and what is open beside the load.
const RESERVE: u64 = 100;

/// Raises the soft limit to the hard one; where that is refused, the scenario fails on its own terms.
pub fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// From one address to another, connecting becomes slow where half of the local ports are taken, which is at
/// 14,000 by default: the first to connect would then wait for seconds, and be taken for silent.
const MOST: usize = 10_000;

/// How many connections may be open at once.
pub fn connections() -> usize {
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(current.saturating_sub(RESERVE)).map_or(MOST, |free| free.min(MOST))
}
