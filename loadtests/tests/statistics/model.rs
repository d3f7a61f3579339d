//! How simulated runs come about.
//!
//! Every request is a stream: a time to its first token and then gaps, all log-normal with a standard deviation of 0.3
//! of the logarithm; the gaps of one stream share half of their variance, as those of a real one do. A slice has a
//! level of its own, a first-order autoregression of the logarithm, that slows or quickens all within it. Two requests
//! in a thousand fail. CPU a request varies by 2 % from slice to slice. Schedules are kept, so that times from the
//! intended send time and from the sending are the same but for a thousandth.

use std::collections::BTreeMap;

use outrigger_loadtests::load::result::{Metric, Run};
use outrigger_loadtests::load::synthetic::{Builder, Part};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};

pub struct Model {
    pub slices: usize,
    pub requests_a_slice: usize,
    /// The standard deviation of the slices' levels, and how much of one the next one keeps.
    pub level: f64,
    pub persistence: f64,
}

/// 10,000 requests in ten seconds that know nothing of each other.
pub const INDEPENDENT: Model = Model { slices: 10, requests_a_slice: 1000, level: 0.0, persistence: 0.0 };

/// 12,000 requests in thirty seconds whose levels vary by half a percent, half of which stays for the next second.
pub const AUTOCORRELATED: Model = Model { slices: 30, requests_a_slice: 400, level: 0.005, persistence: 0.5 };

const DEVIATION: f64 = 0.3;
const FIRST_TOKEN: f64 = 20.0;
const GAP: f64 = 4.0;
const GAPS: usize = 4;

struct Draws {
    generator: Xoshiro256PlusPlus,
    normal: Normal<f64>,
}

impl Model {
    /// All of its latencies are `slower` times as long.
    pub fn run(&self, seed: u64, slower: f64) -> Run {
        let normal = Normal::new(0.0, 1.0).unwrap();
        let mut draws = Draws { generator: Xoshiro256PlusPlus::seed_from_u64(seed), normal };
        let mut state = draws.next();
        let mut builder = Builder::new("simulated");
        for _ in 0..self.slices {
            builder = builder.part(draws.part(self.requests_a_slice, slower * (self.level * state).exp()));
            let kept = self.persistence;
            state = kept * state + (1.0 - kept * kept).sqrt() * draws.next();
        }
        builder.build().unwrap()
    }
}

impl Draws {
    fn next(&mut self) -> f64 {
        self.normal.sample(&mut self.generator)
    }

    fn part(&mut self, requests: usize, factor: f64) -> Part {
        let mut part = Part { seconds: 1.0, ..Part::default() };
        for _ in 0..requests {
            if self.generator.random_bool(0.002) {
                part.failed += 1;
            } else {
                self.stream(factor, &mut part.latencies);
                part.output_tokens += GAPS as u64 + 1;
            }
        }
        part.cpu_share = Some(0.2 * (0.02 * self.next()).exp());
        part
    }

    fn stream(&mut self, factor: f64, latencies: &mut BTreeMap<Metric, Vec<f64>>) {
        let first = FIRST_TOKEN * factor * (DEVIATION * self.next()).exp();
        let shared = self.next();
        let mut decoding = 0.0;
        for _ in 0..GAPS {
            let own = self.next();
            let gap = GAP * factor * (DEVIATION * (shared + own) / std::f64::consts::SQRT_2).exp();
            decoding += gap;
            latencies.entry(Metric::InterToken).or_default().push(gap);
        }
        let lag = 1.0 + 0.001 * self.generator.random::<f64>();
        for (metric, value) in [
            (Metric::ServiceTtft, first),
            (Metric::Ttft, first * lag),
            (Metric::Service, first + decoding),
            (Metric::EndToEnd, first * lag + decoding),
            (Metric::Tpot, decoding / GAPS as f64),
        ] {
            latencies.entry(metric).or_default().push(value);
        }
    }
}
