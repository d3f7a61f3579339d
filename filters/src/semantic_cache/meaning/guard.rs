//! What makes two texts ask different things however near they lie: each is a veto, with a name.

/// Why a near text does not stand for the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    Number,
}

impl Veto {
    pub const ALL: [Veto; 1] = [Veto::Number];

    pub fn name(self) -> &'static str {
        "number"
    }
}
