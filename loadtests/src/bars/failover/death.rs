//! One backend's death, and what is laid to its account.

use std::time::Duration;

use tokio::time::Instant;

use crate::bars::arrivals::{End, Outcome};
use crate::bars::latencies::Latencies;

/// What a death breaks, breaks at once; a broken answer that comes later has another cause.
const AT_ONCE: Duration = Duration::from_secs(1);

pub struct Death {
    pub at: Instant,
    /// Generations that it had.
    pub active: u64,
    pub backend: String,
}

impl Death {
    /// How many answers broke that the dying one cannot have had.
    pub fn broken_elsewhere(&self, errors: &[&Outcome]) -> u64 {
        let broken = errors.iter().filter(|one| matches!(one.end, End::Broken(_)));
        let (at_once, later): (Vec<&Outcome>, Vec<&Outcome>) =
            broken.copied().partition(|one| one.due + one.over < self.at + AT_ONCE);
        later.len() as u64 + (at_once.len() as u64).saturating_sub(self.active)
    }
}

/// Whatever ended badly in this time, whenever it began.
pub fn errors(outcomes: &[Outcome], from: Instant, to: Instant) -> impl Iterator<Item = &Outcome> {
    outcomes.iter().filter(move |one| {
        let ended = one.due + one.over;
        (one.is_error() || one.end == End::Refused) && ended >= from && ended < to
    })
}

/// In microseconds, over the whole answers of those who came in this time.
pub fn p99(outcomes: &[Outcome], from: Instant, to: Instant) -> anyhow::Result<f64> {
    let within = outcomes.iter().filter(|one| one.is_whole() && one.due >= from && one.due < to);
    Ok(Latencies::of(within.map(|one| one.over))?.p99())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bars::arrivals::testing::outcome;

    #[test]
    fn what_breaks_beyond_what_the_dying_one_had_broke_elsewhere() {
        let at = Instant::now();
        let broken = |millis| outcome(at, Some(millis), End::Broken(String::new()));
        let outcomes = [broken(3), broken(5), broken(7), broken(2000), outcome(at, None, End::Refused)];
        let errors: Vec<&Outcome> = errors(&outcomes, at, at + Duration::from_secs(9)).collect();
        assert_eq!(errors.len(), 5, "a refusal is an error too: a backend is well");
        let death = |active| Death { at, active, backend: String::new() };
        assert_eq!(death(3).broken_elsewhere(&errors), 1, "the late one");
        assert_eq!(death(1).broken_elsewhere(&errors), 3, "and two that it cannot have had");
    }

    #[test]
    fn an_error_belongs_to_when_it_came_and_not_to_when_it_was_asked_for() {
        let start = Instant::now();
        let (second, hour) = (start + Duration::from_secs(1), start + Duration::from_secs(3600));
        let outcomes = [outcome(start, Some(1200), End::Failed(String::new())), outcome(start, Some(20), End::Whole)];
        assert_eq!((errors(&outcomes, start, second).count(), errors(&outcomes, second, hour).count()), (0, 1));
        assert!((p99(&outcomes, start, second).unwrap() - 20_000.0).abs() < 10.0);
    }
}
