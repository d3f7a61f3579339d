//! What makes two texts ask different things however near they lie: each is a veto, with a name.
//!
//! A model of meaning sees little difference between `enable` and `disable`, 100 and 1,000, or A to B and B to A.
//! Words see it. Every veto can only turn a hit into a miss, so where in doubt there is one.

mod lexicon;
mod number;
mod order;
mod reading;
mod stem;

use lexicon::Mark;
pub use reading::Reading;

/// Why a near text does not stand for the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Veto {
    /// Other numbers, in digits or words.
    Number,
    /// One says no, and the other does not.
    Negation,
    /// Miles and kilometres, dollars and euros, days and weeks.
    Unit,
    /// Months, days, times of the day.
    Date,
    /// A name or a code with capitals or digits, or a thing that is one of its kind.
    Name,
    Place,
    /// From and to, in and out, this to that and that to this.
    Direction,
    /// Enable and disable, buy and sell.
    Antonym,
    /// All and some, only, both, the first and the last.
    Quantity,
    /// Why and how, when and where.
    Ask,
    /// Mine and yours.
    Owner,
}

impl Veto {
    pub const ALL: [Veto; 11] = [
        Veto::Number,
        Veto::Negation,
        Veto::Unit,
        Veto::Date,
        Veto::Name,
        Veto::Place,
        Veto::Direction,
        Veto::Antonym,
        Veto::Quantity,
        Veto::Ask,
        Veto::Owner,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Veto::Number => "number",
            Veto::Negation => "negation",
            Veto::Unit => "unit",
            Veto::Date => "date",
            Veto::Name => "name",
            Veto::Place => "place",
            Veto::Direction => "direction",
            Veto::Antonym => "antonym",
            Veto::Quantity => "quantity",
            Veto::Ask => "ask",
            Veto::Owner => "owner",
        }
    }
}

/// The first reason found why one text does not stand for the other. It is the same both ways.
pub fn veto(asked: &Reading, candidate: &Reading) -> Option<Veto> {
    if asked.numbers != candidate.numbers {
        return Some(Veto::Number);
    }
    // Two of them are as good as none, but not the same as none.
    if (asked.negations > 0, asked.negations % 2) != (candidate.negations > 0, candidate.negations % 2) {
        return Some(Veto::Negation);
    }
    if !knows_names(asked, candidate) || !knows_names(candidate, asked) || asked.codes != candidate.codes {
        return Some(Veto::Name);
    }
    other_marks(&asked.same, &candidate.same)
        .or_else(|| other_sides(&asked.sides, &candidate.sides))
        .or_else(|| order::is_turned(asked, candidate).then_some(Veto::Direction))
        .or_else(|| order::is_reversed(asked, candidate).then_some(Veto::Direction))
}

/// Whether the other text has each name, with a capital or without.
fn knows_names(names: &Reading, other: &Reading) -> bool {
    names.names.iter().all(|name| other.stems.contains(name))
}

/// What one text names and the other does not.
fn other_marks(left: &[Mark], right: &[Mark]) -> Option<Veto> {
    let odd = |these: &[Mark], others: &[Mark]| these.iter().find(|mark| !others.contains(mark)).copied();
    match odd(left, right).or_else(|| odd(right, left)) {
        Some(Mark::Same(veto, _) | Mark::Side(veto, ..)) => Some(veto),
        None => None,
    }
}

/// A group in which one text takes a side more often, and the other text another: `in` is not `out`, and not `in`
/// with `out` either.
fn other_sides(left: &[Mark], right: &[Mark]) -> Option<Veto> {
    let count = |marks: &[Mark], mark: Mark| marks.iter().filter(|other| **other == mark).count();
    let more = |marks: &[Mark], others: &[Mark]| -> Vec<(Veto, u16)> {
        let sides = marks.iter().filter(|mark| count(marks, **mark) > count(others, **mark));
        sides.filter_map(|mark| mark.group()).collect()
    };
    let (here, there) = (more(left, right), more(right, left));
    here.into_iter().find(|group| there.contains(group)).map(|(veto, _)| veto)
}

#[cfg(test)]
mod tests;
