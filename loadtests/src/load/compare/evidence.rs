//! What speaks for and against a change of one figure.

use super::figure::Figure;
use crate::stats::estimate::Interval;

#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    pub figure: Figure,
    pub before: f64,
    pub after: f64,
    pub ratio: Option<Interval>,
    /// None where there is too little to judge.
    pub p_value: Option<f64>,
    /// Cliff's delta, where there are values to be ranked.
    pub delta: Option<f64>,
}
