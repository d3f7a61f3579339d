use std::sync::Arc;

use proptest::prelude::*;
use shuttle::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Every way in which threads can come and go is a matter of this lock.
impl<T: Send> Lock<T> for shuttle::sync::Mutex<T> {
    fn holding(value: T) -> Self {
        shuttle::sync::Mutex::new(value)
    }

    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.lock().unwrap())
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn rules() -> Rules {
    Rules {
        consecutive_failures: 5,
        success_ratio: 0.8,
        min_requests: 10,
        window: 10 * SECOND,
        slow_ttft: 2 * SECOND,
        slow_ratio: 0.8,
        open: SECOND,
        max_open: 60 * SECOND,
        probes: 1,
        probe: 10 * SECOND,
    }
}

/// One breaker on a clock of its own.
struct Trial {
    gate: Gate,
    now: Instant,
    changes: Vec<Change>,
}

impl Trial {
    fn of(rules: Rules) -> Self {
        let now = Instant::now();
        Trial { gate: Gate::new(rules, now), now, changes: Vec::new() }
    }

    fn enter(&mut self) -> Result<Pass, Instant> {
        let (entered, change) = self.gate.enter(self.now);
        self.changes.extend(change);
        entered
    }

    fn settle(&mut self, pass: Pass, outcome: Outcome) {
        self.changes.extend(self.gate.settle(pass, outcome, self.now, || true));
    }

    /// A call at once; false where it was not let in.
    fn call(&mut self, outcome: Outcome) -> bool {
        let entered = self.enter();
        entered.map(|pass| self.settle(pass, outcome)).is_ok()
    }

    fn calls(&mut self, outcome: Outcome, count: usize) -> usize {
        (0..count).filter(|_| self.call(outcome)).count()
    }

    fn trips(&self) -> usize {
        self.changes.iter().filter(|change| change.to == Phase::Open).count()
    }

    /// Until it lets its probes in.
    fn wait_open(&mut self) -> Duration {
        let until = self.gate.standing(self.now).until.expect("it should be open");
        let wait = until - self.now;
        self.now = until;
        wait
    }
}

#[test]
fn five_faults_in_a_row_open_it_and_the_sixth_call_is_not_made() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Good, 100);
    assert_eq!(trial.calls(Outcome::Fault, 1000), 5);
    assert_eq!(trial.changes[0].cause, Cause::ConsecutiveFailures);
    assert!(!trial.call(Outcome::Good));
}

#[test]
fn a_backend_that_fails_half_of_the_time_is_out_within_its_window() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Good, 20);
    let made = (0..200).take_while(|number| trial.call([Outcome::Fault, Outcome::Good][number % 2])).count();
    assert_eq!(trial.changes[0].cause, Cause::SuccessRatio);
    assert!(made < 60, "{made} calls");
}

#[test]
fn a_good_call_ends_a_row_of_faults() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Good, 200);
    for _ in 0..3 {
        assert_eq!(trial.calls(Outcome::Fault, 4), 4);
        assert!(trial.call(Outcome::Good));
    }
    assert_eq!(trial.trips(), 0);
}

#[test]
fn faults_strewn_about_at_five_in_a_hundred_never_open_it() {
    for (seed, per_second) in [(1, 1), (2, 5), (3, 20), (4, 100), (5, 400)] {
        let (mut trial, mut chance) = (Trial::of(rules()), fastrand::Rng::with_seed(seed));
        for _ in 0..1800 * per_second {
            trial.call(if chance.f64() < 0.05 { Outcome::Fault } else { Outcome::Good });
            trial.now += SECOND / per_second;
        }
        assert_eq!(trial.trips(), 0, "{per_second} a second for half an hour: {:?}", trial.changes);
    }
}

#[test]
fn what_clients_do_wrong_never_opens_it() {
    let mut trial = Trial::of(rules());
    assert_eq!(trial.calls(Outcome::Neutral, 10_000), 10_000);
    assert_eq!(trial.trips(), 0);
}

#[test]
fn refusals_for_too_much_work_count_for_the_ratio_only() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Good, 20);
    assert!(trial.calls(Outcome::Limited, 200) > 5, "five in a row are no reason");
    assert_eq!(trial.changes[0].cause, Cause::SuccessRatio);
}

#[test]
fn a_key_that_is_refused_is_a_reason_of_its_own() {
    let mut trial = Trial::of(rules());
    assert_eq!(trial.calls(Outcome::Unauthorized, 100), 5);
    assert_eq!(trial.changes[0].cause, Cause::Unauthorized);
}

#[test]
fn slow_first_tokens_open_it_and_quick_ones_do_not() {
    let mut trial = Trial::of(rules());
    for (took, trips) in [(SECOND, 0), (3 * SECOND, 1)] {
        for _ in 0..100 {
            let Ok(pass) = trial.enter() else { break };
            trial.changes.extend(trial.gate.first_token(&pass, took, trial.now, || true));
            trial.settle(pass, Outcome::Good);
        }
        assert_eq!(trial.trips(), trips, "{took:?}");
        trial.now += 20 * SECOND;
    }
    assert_eq!(trial.changes[0].cause, Cause::SlowFirstTokens);
}

#[test]
fn a_matter_of_degree_needs_leave() {
    let mut trial = Trial::of(rules());
    for number in 0..200 {
        let Ok(pass) = trial.enter() else { panic!("it was not let") };
        let outcome = [Outcome::Good, Outcome::Fault][number % 2];
        assert!(trial.gate.settle(pass, outcome, trial.now, || false).is_none());
    }
}

#[test]
fn it_stays_open_longer_each_time_and_by_chance() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Fault, 5);
    let waits: Vec<_> = (0..10)
        .map(|_| {
            let wait = trial.wait_open();
            assert!(trial.call(Outcome::Fault), "the probe");
            wait.as_secs_f64()
        })
        .collect();
    for (number, wait) in waits.iter().enumerate() {
        let base = f64::from(1 << number.min(6)).min(60.0);
        let (least, most) = (if base > 40.0 { 40.0 } else { base }, (base * 1.5).min(60.0));
        assert!((least..=most).contains(wait), "the {number}th: {wait} s, not {least} to {most}");
    }
    // It has been well for a window: it begins anew.
    trial.wait_open();
    assert!(trial.call(Outcome::Good));
    trial.now += 11 * SECOND;
    trial.calls(Outcome::Fault, 5);
    assert!(trial.wait_open() <= SECOND * 3 / 2);
}

#[test]
fn one_that_fails_as_soon_as_it_is_back_is_left_alone_for_longer() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Fault, 5);
    trial.wait_open();
    assert!(trial.call(Outcome::Good), "the probe closes it");
    trial.calls(Outcome::Fault, 5);
    assert!(trial.wait_open() >= 2 * SECOND);
}

#[test]
fn what_is_told_after_a_change_is_not_heard() {
    let mut trial = Trial::of(rules());
    let early: Vec<_> = (0..20).map(|_| trial.enter().unwrap()).collect();
    trial.calls(Outcome::Fault, 5);
    trial.wait_open();
    let probe = trial.enter().unwrap();
    early.into_iter().for_each(|pass| trial.settle(pass, Outcome::Good));
    assert_eq!(trial.gate.phase(trial.now), Phase::HalfOpen, "calls from before close nothing");
    trial.settle(probe, Outcome::Good);
    assert_eq!(trial.gate.phase(trial.now), Phase::Closed);
}

#[test]
fn a_probe_that_is_cancelled_makes_room_and_one_that_is_stuck_too() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Fault, 5);
    trial.wait_open();
    let probe = trial.enter().unwrap();
    assert_eq!(trial.enter().err(), Some(trial.now + SECOND), "only one at a time");
    trial.settle(probe, Outcome::Neutral);
    let stuck = trial.enter().expect("the first was cancelled");
    trial.now += 10 * SECOND;
    let third = trial.enter().expect("the second is stuck");
    trial.settle(third, Outcome::Good);
    assert_eq!(trial.gate.phase(trial.now), Phase::Closed);
    trial.settle(stuck, Outcome::Fault);
    assert_eq!(trial.gate.phase(trial.now), Phase::Closed, "it is too late to tell");
}

#[test]
fn a_probe_that_is_told_to_come_later_fails() {
    let mut trial = Trial::of(rules());
    trial.calls(Outcome::Fault, 5);
    trial.wait_open();
    assert!(trial.call(Outcome::Limited));
    assert_eq!(trial.changes.last().map(|change| (change.to, change.cause)), Some((Phase::Open, Cause::ProbeFailed)));
}

/// Callers at a breaker whose time is over; each that is let in as a probe may be cancelled, or stays away for good.
fn callers_at_a_half_open_breaker(callers: usize, probes: u32, is_cancelled: fn(usize) -> bool) {
    type Shuttled = Gate<shuttle::sync::Mutex<State>>;
    let start = Instant::now();
    let gate = Arc::new(Shuttled::new(Rules { probes, ..rules() }, start));
    for _ in 0..5 {
        let pass = gate.enter(start).0.unwrap();
        gate.settle(pass, Outcome::Fault, start, || true);
    }
    let now = gate.standing(start).until.unwrap();
    // What has been let through and was not cancelled, and what of it has succeeded.
    let (taken, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let call = |number: usize| {
        let (gate, taken, good) = (gate.clone(), taken.clone(), good.clone());
        move || {
            let Ok(pass) = gate.enter(now).0 else { return };
            if !pass.is_probe() {
                assert_eq!(good.load(Ordering::SeqCst), probes as usize, "it closed before all its probes succeeded");
                return;
            }
            let taken_now = taken.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(taken_now <= probes as usize, "{taken_now} probes");
            let outcome = if is_cancelled(number) { Outcome::Neutral } else { Outcome::Good };
            match outcome {
                Outcome::Good => good.fetch_add(1, Ordering::SeqCst),
                _ => taken.fetch_sub(1, Ordering::SeqCst),
            };
            gate.settle(pass, outcome, now, || true);
        }
    };
    let callers: Vec<_> = (0..callers).map(|number| shuttle::thread::spawn(call(number))).collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let good = good.load(Ordering::SeqCst);
    assert!(good <= probes as usize, "{good} probes reached the backend");
    assert_eq!(gate.phase(now) == Phase::Closed, good == probes as usize);
}

#[test]
fn in_every_interleaving_exactly_the_probes_reach_the_backend() {
    for probes in [1, 2] {
        shuttle::check_dfs(move || callers_at_a_half_open_breaker(2, probes, |_| false), Some(200_000));
        shuttle::check_dfs(move || callers_at_a_half_open_breaker(2, probes, |number| number == 0), Some(200_000));
    }
    for probes in [1, 2, 5] {
        shuttle::check_random(move || callers_at_a_half_open_breaker(12, probes, |number| number % 3 == 0), 1_000);
        shuttle::check_pct(move || callers_at_a_half_open_breaker(12, probes, |_| false), 1_000, 4);
    }
}

#[test]
fn a_thousand_callers_wait_and_exactly_the_probes_get_through() {
    for probes in [1, 3] {
        shuttle::check_random(move || callers_at_a_half_open_breaker(1000, probes, |number| number % 2 == 0), 3);
    }
}

proptest! {
    #[test]
    fn it_never_gets_stuck_and_never_lets_more_than_its_probes_through(
        steps in prop::collection::vec((0usize..5, 0u64..3_000, any::<bool>()), 1..300),
        probes in 1u32..4,
    ) {
        let mut trial = Trial::of(Rules { probes, ..rules() });
        let mut held: Vec<Pass> = Vec::new();
        for (outcome, wait, keep) in steps {
            trial.now += Duration::from_millis(wait);
            match trial.enter() {
                Ok(pass) if keep => held.push(pass),
                Ok(pass) => trial.settle(pass, Outcome::ALL[outcome]),
                Err(until) => prop_assert!(until >= trial.now, "it says when to come again"),
            }
            if held.len() > 5 {
                let pass = held.remove(0);
                trial.settle(pass, Outcome::ALL[outcome]);
            }
        }
        // Whatever was, a backend that is well again is found out.
        drop(held);
        for _ in 0..20 {
            trial.now += 61 * SECOND;
            trial.call(Outcome::Good);
        }
        prop_assert_eq!(trial.gate.phase(trial.now), Phase::Closed);
    }
}
