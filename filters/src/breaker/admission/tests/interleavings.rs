//! Whoever comes, waits, gives up, is told or leaves, in whatever order: no place is lost, and none is given twice.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::super::{Admission, Config, Priority, Shed, Slot};

#[derive(Clone, Copy, Debug)]
enum Step {
    Come { units: u64, priority: Priority },
    Try { units: u64, priority: Priority },
    Poll(usize),
    GiveUp(usize),
    Leave(usize),
    FirstToken(usize, u64),
    TurnAway,
    Capacity(Option<u64>),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let priority = || prop::sample::select(Priority::ALL.to_vec());
    let (units, place) = (1..40_u64, 0..64_usize);
    prop_oneof![
        6 => (units.clone(), priority()).prop_map(|(units, priority)| Step::Come { units, priority }),
        2 => (units, priority()).prop_map(|(units, priority)| Step::Try { units, priority }),
        4 => place.clone().prop_map(Step::Poll),
        3 => place.clone().prop_map(Step::GiveUp),
        5 => place.clone().prop_map(Step::Leave),
        2 => (place, 1..5000_u64).prop_map(|(place, took)| Step::FirstToken(place, took)),
        1 => Just(Step::TurnAway),
        1 => prop::option::of(1..120_u64).prop_map(Step::Capacity),
        2 => (0..1500_u64).prop_map(Step::Pass),
    ]
}

type Entering = Pin<Box<dyn Future<Output = Result<Slot, Shed>>>>;

/// Everybody there is, by number.
struct World {
    admission: Arc<Admission>,
    entering: BTreeMap<usize, Entering>,
    held: BTreeMap<usize, Slot>,
    last: usize,
}

impl World {
    fn new() -> World {
        let least = NonZeroU32::new(1).unwrap();
        let initial_limit = NonZeroU32::new(5).unwrap();
        let config = Config { initial_limit, min_limit: least, queue: 6, ..Config::default() };
        World { admission: Admission::new(config), entering: BTreeMap::new(), held: BTreeMap::new(), last: 0 }
    }

    fn poll(&mut self, name: usize) {
        let Some(entering) = self.entering.get_mut(&name) else { return };
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(told) = entering.as_mut().poll(&mut context) {
            self.entering.remove(&name);
            if let Ok(slot) = told {
                self.held.insert(name, slot);
            }
        }
    }

    async fn take(&mut self, step: Step) {
        let pick = |place: usize, names: Vec<usize>| names.get(place % names.len().max(1)).copied();
        match step {
            Step::Come { units, priority } => {
                let admission = Arc::clone(&self.admission);
                self.last += 1;
                self.entering.insert(self.last, Box::pin(async move { admission.enter(units, priority, None).await }));
                self.poll(self.last);
            }
            Step::Try { units, priority } => {
                self.last += 1;
                self.held.extend(self.admission.try_enter(units, priority).map(|slot| (self.last, slot)));
            }
            Step::Poll(place) => {
                pick(place, self.entering.keys().copied().collect()).into_iter().for_each(|name| self.poll(name));
            }
            Step::GiveUp(place) => {
                let name = pick(place, self.entering.keys().copied().collect());
                drop(name.and_then(|name| self.entering.remove(&name)));
            }
            Step::Leave(place) => {
                let name = pick(place, self.held.keys().copied().collect());
                drop(name.and_then(|name| self.held.remove(&name)));
            }
            Step::FirstToken(place, took) => {
                let name = pick(place, self.held.keys().copied().collect());
                if let Some(slot) = name.and_then(|name| self.held.get_mut(&name)) {
                    slot.first_token(Duration::from_millis(took), 9);
                }
            }
            Step::TurnAway => self.admission.turn_away(),
            Step::Capacity(tokens) => self.admission.set_capacity(tokens),
            Step::Pass(millis) => advance(Duration::from_millis(millis)).await,
        }
    }

    /// Nobody waits while there is room; and nothing is in flight that nobody holds or is about to be handed.
    fn check(&self) -> Result<(), TestCaseError> {
        let room = self.admission.room();
        let first = room.queue.first().map(|first| first.units);
        prop_assert!(!first.is_some_and(|units| room.fits(units)), "somebody waits before an open door");
        prop_assert!(room.load.requests <= (self.held.len() + self.entering.len()) as u64);
        prop_assert!(room.load.requests >= self.held.len() as u64);
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_place_is_lost_and_none_is_given_twice(steps in prop::collection::vec(step(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                let before = world.admission.report();
                world.take(step).await;
                world.check()?;
                let after = world.admission.report();
                // A limit that falls turns nobody out; but nobody comes in over it, unless alone.
                if after.requests > before.requests && after.requests > 1 {
                    prop_assert!(after.used <= after.limit, "{step:?}: {after:?}");
                }
            }
            // Everybody leaves, and the whole room is there again.
            world.entering.clear();
            world.held.clear();
            let report = world.admission.report();
            prop_assert_eq!((report.requests, report.tokens, report.running), (0, 0, 0));
            prop_assert!(world.admission.try_enter(1, Priority::Low).is_some());
            Ok(())
        })?;
    }
}

#[test]
fn threads_lose_no_place_either() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let (limit, queue) = (NonZeroU32::new(3).unwrap(), 64);
        let admission = Admission::new(Config { adaptive: false, initial_limit: limit, queue, ..Config::default() });
        let mut tasks = JoinSet::new();
        for _ in 0..32 {
            let admission = Arc::clone(&admission);
            tasks.spawn(async move {
                for _ in 0..500 {
                    let priority = Priority::ALL[fastrand::usize(..3)];
                    let patience = Duration::from_micros(fastrand::u64(..400));
                    // Given up at any moment, in the very one of being let in too.
                    if let Ok(Ok(slot)) = tokio::time::timeout(patience, admission.enter(1, priority, None)).await {
                        assert!(admission.report().requests <= 3, "never more than the limit");
                        if fastrand::bool() {
                            sleep(Duration::from_micros(fastrand::u64(..100))).await;
                        }
                        drop(slot);
                    }
                }
            });
        }
        tasks.join_all().await;
        let report = admission.report();
        assert_eq!((report.requests, report.queued.normal), (0, 0), "{report:?}");
    });
}
