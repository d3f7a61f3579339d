//! What a stretch of load has shown: how much was good, how fast it was refused, and from when on all was well.

use std::time::Duration;

use tokio::time::Instant;

use crate::bars::arrivals::{End, Outcome};
use crate::bars::latencies::Latencies;

/// So large a part has to be normal from some moment on, for all to be well again from there.
const NORMAL: f64 = 0.99;

/// Good answers a second: whole, and begun within the patience.
pub fn goodput(outcomes: &[Outcome], patience: Duration, duration: Duration) -> f64 {
    let good = outcomes.iter().filter(|one| one.is_whole() && one.first.is_some_and(|first| first <= patience));
    good.count() as f64 / duration.as_secs_f64()
}

/// How long those who were refused waited for that; none where nobody was.
pub fn refusals(outcomes: &[Outcome]) -> anyhow::Result<Option<Latencies>> {
    // From the sending: how late the load itself was is told apart.
    let refused = outcomes.iter().filter(|one| one.end == End::Refused);
    let latencies = Latencies::of(refused.map(|one| one.over.saturating_sub(one.lag)))?;
    Ok((latencies.len() > 0).then_some(latencies))
}

/// From the start to where the answers are normal to the end, bar one in a hundred; none where they never are.
pub fn recovery(outcomes: &[Outcome], start: Instant, normal: Duration) -> Option<Duration> {
    let is_normal = |one: &Outcome| one.is_whole() && one.first.is_some_and(|first| first <= normal);
    let (mut well, mut count, mut since) = (0_u32, 0_u32, None);
    for one in outcomes.iter().rev() {
        count += 1;
        well += u32::from(is_normal(one));
        if is_normal(one) && f64::from(well) >= NORMAL * f64::from(count) {
            since = Some(one.due.saturating_duration_since(start));
        }
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bars::arrivals::testing::outcome;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn late_and_refused_answers_are_not_good() {
        let now = Instant::now();
        let (good, late) = (outcome(now, Some(900), End::Whole), outcome(now, Some(1100), End::Whole));
        let outcomes = [good, late, outcome(now, None, End::Refused)];
        assert!((goodput(&outcomes, SECOND, SECOND * 2) - 0.5).abs() < 1e-9);
        assert_eq!(refusals(&outcomes).unwrap().map(|refusals| refusals.len()), Some(1));
        assert!(refusals(&outcomes[..2]).unwrap().is_none());
    }

    #[test]
    fn all_is_well_from_where_nearly_everything_is_normal() {
        let start = Instant::now();
        let story = |bad: fn(u64) -> bool| -> Vec<Outcome> {
            let one = |place| {
                let first = if bad(place) { 2000 } else { 50 };
                outcome(start + Duration::from_millis(10 * place), Some(first), End::Whole)
            };
            (0..1000).map(one).collect()
        };
        let recovered = |bad| recovery(&story(bad), start, SECOND);
        assert_eq!(recovered(|_| false), Some(Duration::ZERO));
        let after = recovered(|place| place < 150).unwrap().as_secs_f64();
        assert!((1.3..=1.5).contains(&after), "the last of the bad ones came after a second and a half: {after}");
        assert_eq!(recovered(|place| place == 700), Some(Duration::ZERO), "one bad one is chance");
        assert_eq!(recovered(|_| true), None);
    }
}
