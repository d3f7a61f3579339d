//! The ledger against being killed in the middle, and against a disk that takes no more. Needs sh and prlimit.

mod disk;
mod kill;
mod side;
