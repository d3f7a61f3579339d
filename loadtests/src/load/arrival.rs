//! When requests come: gaps drawn from an arrival model, over a level that changes as a profile says.
//!
//! The model and the profile are kept apart. A model makes a renewal process of rate one: gaps with the mean 1,
//! independent of each other. The profile is a course of the rate over time, and its integral says how many arrivals
//! are due by a moment. An arrival that the model puts at `s` comes when the integral reaches `s`. So a Poisson model
//! under a ramp is exactly the Poisson process whose rate is that ramp, and a bursty one is as bursty at every level;
//! drawing each gap by the rate of its beginning would miss a spike that comes within a gap.

pub mod course;
pub mod gaps;
pub mod mix;
pub mod profile;
mod times;
mod users;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

pub use course::Course;
pub use gaps::Arrivals;
pub use mix::Mix;
pub use profile::Profile;
pub use times::Times;
pub use users::stages as user_stages;

/// One that gives the same numbers on every machine and in every version of its library.
pub type Random = Xoshiro256PlusPlus;

/// What numbers are drawn for. Each has its own sequence, so that another mix of requests leaves the times alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Times,
    Mix,
    /// Of one client of many.
    Client(u32),
}

pub fn random(seed: u64, purpose: Purpose) -> Random {
    let number = match purpose {
        Purpose::Times => 0,
        Purpose::Mix => 1,
        Purpose::Client(number) => 2 + u64::from(number),
    };
    // Far apart, so that neighbouring seeds share nothing.
    Random::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests;
