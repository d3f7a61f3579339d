//! A sidecar's share of a limit while the store cannot be asked.
//!
//! What the sidecars together may still admit is what the store last said was left, parted by the number of
//! sidecars last seen. Let `T` be the sum in the window when it was last told, and `own` this sidecar's part of it.
//! Each may then have `own + (amount - T) / n` in its own window: over all sidecars that is `amount`, and stays so,
//! because what leaves a sidecar's window only it may replace. A window later each comes down to `amount / n`
//! where it had more, and another window later, when nothing above that is left anywhere, all have `amount / n`.

use super::log::Nanos;
use crate::store::Replicas;

/// What the store said of an account, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub at: Nanos,
    pub used: u64,
    /// This sidecar's part of it.
    pub own: u64,
}

/// What takes a window's place where requests in flight are counted.
const IN_FLIGHT: Nanos = 60_000_000_000;

/// How much this sidecar may have in its window.
pub fn share(amount: u64, view: Option<View>, replicas: Replicas, now: Nanos, window: Nanos) -> u64 {
    let even = part(amount, replicas);
    let Some(view) = view else { return even };
    let age = now.saturating_sub(view.at);
    let window = if window == 0 { IN_FLIGHT } else { window };
    if age >= window.saturating_mul(2) {
        return even;
    }
    let had = view.own + part(amount.saturating_sub(view.used), replicas);
    if age < window { had } else { had.min(even) }
}

/// One of `count` parts that add up to `whole`.
fn part(whole: u64, Replicas { count, rank }: Replicas) -> u64 {
    let (count, rank) = (u64::from(count.max(1)), u64::from(rank));
    whole / count + u64::from(rank < whole % count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        for whole in [0, 1, 2, 10, 600] {
            let parts = (0..3).map(|rank| part(whole, Replicas { count: 3, rank })).sum::<u64>();
            assert_eq!(parts, whole);
        }
    }

    proptest! {
        #[test]
        fn the_shares_of_all_never_pass_the_limit(amount in 1u64..10_000, own in prop::collection::vec(0u64..5_000, 1..6), age in 0u64..250) {
            const WINDOW: Nanos = 100;
            let used: u64 = own.iter().sum();
            prop_assume!(used <= amount);
            let count = u32::try_from(own.len()).unwrap();
            let shares = own.iter().zip(0..count).map(|(own, rank)| {
                share(amount, Some(View { at: 0, used, own: *own }), Replicas { count, rank }, age, WINDOW)
            });
            prop_assert!(shares.sum::<u64>() <= amount);
        }
    }
}
