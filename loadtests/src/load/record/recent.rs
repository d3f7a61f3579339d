//! What a worker has seen since it was last asked: what is shown live, and what tells that a target is dead.

use std::collections::BTreeMap;

use super::outcome::{Failure, Outcome, nanoseconds};

#[derive(Debug, Default)]
pub struct Recent {
    pub answered: u64,
    pub failed: u64,
    pub output_tokens: u64,
    pub errors: BTreeMap<Failure, u64>,
    /// Nanoseconds, of what was answered.
    pub end_to_end: Vec<u64>,
    pub ttft: Vec<u64>,
    /// Nanoseconds, of all.
    pub lag: Vec<u64>,
}

impl Recent {
    pub fn record(&mut self, outcome: &Outcome) {
        self.lag.push(nanoseconds(outcome.lag()));
        if let Some(failure) = outcome.failure {
            self.failed += 1;
            *self.errors.entry(failure).or_default() += 1;
            return;
        }
        self.answered += 1;
        self.output_tokens += outcome.output_tokens;
        self.end_to_end.push(nanoseconds(outcome.end_to_end()));
        self.ttft.extend(outcome.ttft().map(nanoseconds));
    }

    pub fn add(&mut self, other: Recent) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.output_tokens += other.output_tokens;
        for (failure, count) in other.errors {
            *self.errors.entry(failure).or_default() += count;
        }
        self.end_to_end.extend(other.end_to_end);
        self.ttft.extend(other.ttft);
        self.lag.extend(other.lag);
    }

    /// Whether something failed, and nothing for another reason than that no connection could be opened.
    pub fn only_connect_errors(&self) -> bool {
        self.answered == 0 && self.failed > 0 && self.errors.keys().all(|failure| *failure == Failure::Connect)
    }

    pub fn is_empty(&self) -> bool {
        self.answered + self.failed == 0
    }
}

/// In milliseconds; none of nothing. The values lose their order.
pub fn quantile_ms(values: &mut [u64], quantile: f64) -> Option<f64> {
    let place = (values.len().checked_sub(1)? as f64 * quantile).round() as usize;
    Some(*values.select_nth_unstable(place).1 as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn failed(failure: Option<Failure>) -> Outcome {
        let now = Instant::now();
        Outcome { failure, ..Outcome::new(now, now, false) }
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut values: Vec<u64> = (1..=101).rev().map(|value| value * 1_000_000).collect();
        assert_eq!(quantile_ms(&mut values, 0.5), Some(51.0));
        assert_eq!(quantile_ms(&mut values, 0.99), Some(100.0));
        assert_eq!(quantile_ms(&mut [], 0.5), None);
    }

    #[test]
    fn any_other_outcome_is_a_sign_of_life() {
        let mut recent = Recent::default();
        assert!(!recent.only_connect_errors(), "nothing is no error");
        recent.record(&failed(Some(Failure::Connect)));
        assert!(recent.only_connect_errors());
        let mut other = Recent::default();
        other.record(&failed(Some(Failure::Status(500))));
        recent.add(other);
        assert!(!recent.only_connect_errors(), "an error was answered");
        assert_eq!((recent.failed, recent.errors.len()), (2, 2));
    }
}
