//! Kept answers: the same question again, then one that means the same. Never another tenant's, never half of one.

pub mod entry;
pub mod meaning;
pub mod places;
