//! The spans of time in which a fault was at work, as the marks tell them: `fault begins: …` and `fault ends: …`.

use crate::load::fault::FaultEdge;
use crate::load::result::Run;

/// In seconds, in the order of their beginnings. A fault that the run did not see the end of lasts until the run's.
/// Marks of other kinds are moments: nothing says how long they lasted.
pub fn windows(run: &Run) -> Vec<(f64, f64)> {
    let last = run.slices.last().map_or(0.0, |slice| slice.at_seconds + slice.seconds);
    let begun = run.marks.iter().enumerate().filter_map(|(place, mark)| {
        let what = mark.what.strip_prefix(FaultEdge::BEGINS)?;
        let end = run.marks[place..].iter().find(|end| end.what.strip_prefix(FaultEdge::ENDS) == Some(what));
        Some((mark.at_seconds, end.map_or(last, |end| end.at_seconds)))
    });
    begun.filter(|(from, to)| from < to).collect()
}

/// A mark in few words, for a picture: a fault's beginning is its name, and its end is where the shade ends.
pub fn short(what: &str) -> &str {
    match what.strip_prefix(FaultEdge::BEGINS) {
        Some(fault) => fault,
        None if what.starts_with(FaultEdge::ENDS) => "",
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_a_fault_once() {
        assert_eq!(short("fault begins: simulator stalls"), "simulator stalls");
        assert_eq!(short("fault ends: simulator stalls"), "", "the shade ends there");
        assert_eq!(short("stage 2: 400/s"), "stage 2: 400/s");
    }
}
