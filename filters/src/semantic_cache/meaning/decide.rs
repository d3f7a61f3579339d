//! Whether a near question is near enough: a probability of being wrong, from the cosine and the words.
//!
//! The weights are those of a logistic regression over pairs of the training parts of CLINC150 and BANKING77 and
//! over traps made from their sentences by rule. It is one calibrator for all entries, so the first repeat of a
//! question can be served; one that learns each entry by itself needs several first.

mod features;
mod weights;

use super::Far;
use super::gate::Gate;
use super::guard::{self, Reading};

pub use features::{Features, NAMES, features};

/// What is served is wrong with at most this probability.
pub const BUDGET: f32 = 0.10;

/// What must hold for an answer to be served.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least cosine.
    pub threshold: f32,
    /// The greatest probability of being wrong.
    pub budget: f32,
}

pub struct Choice {
    /// Which of the candidates.
    pub place: usize,
    pub p_wrong: f32,
}

/// Of the nearest, best first: the first that may stand for what was asked.
pub fn choose(asked: &str, candidates: &[(&str, f32)], bounds: Bounds, gate: Option<&Gate>) -> Result<Choice, Far> {
    let mut near = candidates.iter().enumerate().take_while(|(_, (_, cosine))| *cosine >= bounds.threshold).peekable();
    if near.peek().is_none() {
        return Err(Far::Below);
    }
    let asked = Reading::new(asked);
    let (mut doubtful, mut vetoed) = (false, None);
    for (place, (text, cosine)) in near {
        let candidate = Reading::new(text);
        if let Some(veto) = guard::veto(&asked, &candidate) {
            vetoed = vetoed.or(Some(veto));
            continue;
        }
        let p_wrong = p_wrong(&features(&asked, &candidate, *cosine, gate));
        if p_wrong <= bounds.budget {
            return Ok(Choice { place, p_wrong });
        }
        doubtful = true;
    }
    Err(vetoed.filter(|_| !doubtful).map_or(Far::Doubtful, Far::Vetoed))
}

/// How likely it is that the two ask for different things.
pub fn p_wrong(features: &Features) -> f32 {
    let sum: f32 = features.iter().zip(weights::WEIGHTS).map(|(feature, weight)| feature * weight).sum();
    1.0 / (1.0 + (-(sum + weights::BIAS)).exp())
}
