//! Which request comes next, drawn by weight.

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use super::{Purpose, Random, random};
use crate::load::scenario::Kind;

/// Without end; the same for the same seed and weights.
pub struct Mix {
    weights: WeightedIndex<f64>,
    random: Random,
}

impl Mix {
    pub fn new(requests: &[Kind], seed: u64) -> Result<Mix, String> {
        let weights = WeightedIndex::new(requests.iter().map(|kind| kind.weight))
            .map_err(|_| "there must be at least one request, and one with a weight above 0".to_owned())?;
        Ok(Mix { weights, random: random(seed, Purpose::Mix) })
    }

    /// A place in the scenario's requests.
    pub fn draw(&mut self) -> usize {
        self.weights.sample(&mut self.random)
    }
}
