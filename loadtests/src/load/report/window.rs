//! The spans of time in which a fault was at work, as the marks tell them.
//!
//! A mark that ends one reads as the mark that began it with ` ends` after it.

use crate::load::result::{Mark, Run};

const ENDS: &str = " ends";

/// In seconds, in the order of their ends. A mark without an end is a moment: nothing says how long it lasted.
pub fn windows(run: &Run) -> Vec<(f64, f64)> {
    let ended = run.marks.iter().filter_map(|end| {
        let what = end.what.strip_suffix(ENDS)?;
        let began = |mark: &&Mark| mark.what == what && mark.at_seconds <= end.at_seconds;
        let begin = run.marks.iter().rev().find(began)?;
        Some((begin.at_seconds, end.at_seconds))
    });
    ended.collect()
}
