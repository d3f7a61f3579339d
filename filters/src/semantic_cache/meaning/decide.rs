//! Whether the nearest kept question is near enough.

use super::Far;

pub struct Choice {
    /// Which of the candidates.
    pub place: usize,
    pub p_wrong: f32,
}

/// Of the nearest, best first: the first that may stand for what was asked.
pub fn choose(_asked: &str, candidates: &[(&str, f32)], threshold: f32) -> Result<Choice, Far> {
    match candidates.first() {
        Some((_, cosine)) if *cosine >= threshold => Ok(Choice { place: 0, p_wrong: 0.0 }),
        _ => Err(Far::Below),
    }
}
