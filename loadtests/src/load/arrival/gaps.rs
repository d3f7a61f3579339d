//! Arrival models: gaps of mean 1 between one arrival and the next.

use std::fmt;

use rand::RngExt;
use rand_distr::{Distribution, Exp1, Gamma, Weibull};
use statrs::function::gamma::gamma;

use super::Random;

/// How arrivals are strewn, whatever their rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// As a clock ticks.
    Constant,
    /// As from many who know nothing of each other.
    Poisson,
    /// Gaps by a gamma distribution, as vLLM's benchmark has them: 1 is Poisson, below 1 burstier, above 1 more even.
    /// The gaps' variance is 1/burstiness of their squared mean.
    Gamma { burstiness: Shape },
    /// Gaps by a Weibull distribution: 1 is Poisson, below 1 burstier and with a heavier tail than gamma's.
    Weibull { shape: Shape },
}

/// The shape of a distribution, within what can be drawn from without losing its mean to rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape(f64);

impl Shape {
    pub const LEAST: f64 = 0.05;
    pub const MOST: f64 = 1000.0;

    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Shape {
    type Error = String;

    fn try_from(value: f64) -> Result<Shape, String> {
        if (Shape::LEAST..=Shape::MOST).contains(&value) {
            Ok(Shape(value))
        } else {
            Err(format!("{value} is not between {} and {}", Shape::LEAST, Shape::MOST))
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A model that can be drawn from.
///
/// The first gap counts from a moment that is no arrival, and so has another distribution than the rest: the rest of
/// a gap that the moment fell into, and long gaps are hit more often. Drawn so, the expected number of arrivals is the
/// integral of the rate from the first moment on, also for bursty models; with a plain gap instead, a burst would
/// stand at the beginning of every run.
#[derive(Clone, Debug)]
pub struct Gaps {
    law: Law,
    /// What gaps are like when each is drawn as often as it is long.
    biased: Law,
}

#[derive(Clone, Copy, Debug)]
enum Law {
    Equal,
    Exponential,
    Gamma(Gamma<f64>),
    Weibull(Weibull<f64>),
    /// A scale times a gamma variate to a power.
    GammaPower {
        gamma: Gamma<f64>,
        scale: f64,
        power: f64,
    },
}

impl Gaps {
    pub fn new(arrivals: Arrivals) -> anyhow::Result<Gaps> {
        let (law, biased) = match arrivals {
            Arrivals::Constant => (Law::Equal, Law::Equal),
            Arrivals::Poisson => (Law::Exponential, Law::Gamma(Gamma::new(2.0, 1.0)?)),
            Arrivals::Gamma { burstiness: Shape(shape) } => {
                (Law::Gamma(Gamma::new(shape, 1.0 / shape)?), Law::Gamma(Gamma::new(shape + 1.0, 1.0 / shape)?))
            }
            Arrivals::Weibull { shape: Shape(shape) } => {
                let power = 1.0 / shape;
                let scale = 1.0 / gamma(1.0 + power);
                let biased = Law::GammaPower { gamma: Gamma::new(1.0 + power, 1.0)?, scale, power };
                (Law::Weibull(Weibull::new(scale, shape)?), biased)
            }
        };
        Ok(Gaps { law, biased })
    }

    /// From the beginning to the first arrival; at once, where they are all equal.
    pub fn first(&self, random: &mut Random) -> f64 {
        match self.law {
            Law::Equal => 0.0,
            _ => self.biased.draw(random) * random.random::<f64>(),
        }
    }

    pub fn next(&self, random: &mut Random) -> f64 {
        self.law.draw(random)
    }
}

impl Law {
    fn draw(&self, random: &mut Random) -> f64 {
        match self {
            Law::Equal => 1.0,
            Law::Exponential => Exp1.sample(random),
            Law::Gamma(gamma) => gamma.sample(random),
            Law::Weibull(weibull) => weibull.sample(random),
            Law::GammaPower { gamma, scale, power } => scale * gamma.sample(random).powf(*power),
        }
    }
}
