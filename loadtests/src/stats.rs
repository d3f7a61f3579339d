//! Statistics that say whether two samples differ, and where a history changed.

pub mod blocks;
pub mod change_points;
pub mod estimate;
pub mod mann_whitney;
pub mod order;
pub mod sample;
pub mod student;
