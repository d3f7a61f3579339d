//! What admission promises, one by one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, advance};

use super::super::{Admission, Config, Priority, Shed, Slot, Unit, Why};

fn admission(limit: u32, queue: usize) -> Arc<Admission> {
    let limit = NonZeroU32::new(limit).unwrap();
    Admission::new(Config { adaptive: false, initial_limit: limit, queue, ..Config::default() })
}

type Waiters = JoinSet<(u32, Result<Slot, Shed>)>;

/// Asks, and lets it come to its place in the queue.
async fn wait(waiters: &mut Waiters, admission: &Arc<Admission>, name: u32, priority: Priority) {
    let admission = Arc::clone(admission);
    waiters.spawn(async move { (name, admission.enter(1, priority, None).await) });
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn the_higher_priority_goes_first_and_among_equals_who_came_first() {
    let (admission, mut waiters) = (admission(1, 16), Waiters::new());
    let mut held = admission.try_enter(1, Priority::Normal);
    let order = [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Normal)];
    for (name, priority) in order {
        wait(&mut waiters, &admission, name, priority).await;
    }
    assert!(admission.try_enter(1, Priority::High).is_none(), "it is full");
    let mut came = Vec::new();
    while !waiters.is_empty() {
        drop(held.take());
        let (name, slot) = waiters.join_next().await.unwrap().unwrap();
        held = Some(slot.unwrap());
        came.push(name);
    }
    assert_eq!(came, [3, 2, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_lets_the_youngest_of_the_lowest_go() {
    let (admission, mut waiters) = (admission(1, 2), Waiters::new());
    let held = admission.try_enter(1, Priority::Normal);
    for name in [1, 2] {
        wait(&mut waiters, &admission, name, Priority::Low).await;
    }
    let low = admission.enter(1, Priority::Low, None).await.err().unwrap();
    assert_eq!(low.why, Why::QueueFull, "its like do not give way");
    wait(&mut waiters, &admission, 3, Priority::High).await;
    let (name, told) = waiters.join_next().await.unwrap().unwrap();
    assert_eq!((name, told.err().unwrap().why), (2, Why::Evicted));
    assert_eq!(admission.report().queued.low, 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_in_vain_is_told_at_once() {
    let admission = admission(1, 16);
    for _ in 0..20 {
        let slot = admission.try_enter(1, Priority::Normal);
        advance(Duration::from_secs(10)).await;
        drop(slot);
    }
    let held = admission.try_enter(1, Priority::Normal).unwrap();
    let start = Instant::now();
    let shed = admission.enter(1, Priority::High, None).await.err().unwrap();
    assert_eq!((shed.why, start.elapsed()), (Why::WouldWaitTooLong, Duration::ZERO));
    let retry = shed.retry_after.as_secs_f64();
    assert!((9.0..11.0).contains(&retry), "a slot is held for ten seconds: {retry}");
    assert_eq!(admission.report().shed.would_wait_too_long, 1);
    drop(held);
}

/// Whoever hung up at once made the pace look quick, and those after them were let wait in vain.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_does_not_teach_that_room_is_made_quickly() {
    let admission = admission(1, 16);
    for _ in 0..20 {
        let mut slot = admission.try_enter(1, Priority::Normal).unwrap();
        advance(Duration::from_secs(10)).await;
        slot.finished(Duration::from_secs(10), 1000);
        drop(slot);
        for _ in 0..20 {
            drop(admission.try_enter(1, Priority::Normal));
        }
    }
    let held = admission.try_enter(1, Priority::Normal);
    let shed = admission.enter(1, Priority::Normal, None).await.err().unwrap();
    assert_eq!(shed.why, Why::WouldWaitTooLong);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_callers_own_deadline() {
    let admission = admission(1, 16);
    let held = admission.try_enter(1, Priority::Normal);
    let (start, patience) = (Instant::now(), Duration::from_millis(300));
    let shed = admission.enter(1, Priority::Normal, Some(start + patience)).await.err().unwrap();
    assert_eq!((shed.why, start.elapsed()), (Why::Expired, patience));
    drop(held);
    assert!(admission.try_enter(1, Priority::Low).is_some(), "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn everybody_is_told_when_the_backend_is_out() {
    let (admission, mut waiters) = (admission(1, 16), Waiters::new());
    let held = admission.try_enter(1, Priority::Normal);
    for (name, priority) in (0..).zip(Priority::ALL) {
        wait(&mut waiters, &admission, name, priority).await;
    }
    let start = Instant::now();
    admission.turn_away();
    let told = waiters.join_all().await;
    assert!(told.iter().all(|(_, told)| told.as_ref().is_err_and(|shed| shed.why == Why::Moved)));
    assert_eq!((told.len(), start.elapsed()), (3, Duration::ZERO));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_where_the_capacity_is_known() {
    let admission = admission(1000, 16);
    admission.set_capacity(Some(1000));
    let slots: Vec<Slot> = (0..16).map_while(|_| admission.try_enter(110, Priority::Normal)).collect();
    let report = admission.report();
    assert_eq!((slots.len(), report.used, report.limit, report.unit), (9, 990, 1000, Unit::Tokens));
    admission.set_capacity(None);
    let report = admission.report();
    assert_eq!((report.used, report.limit, report.unit), (9, 1000, Unit::Requests));
    drop(slots);
    assert_eq!((admission.report().requests, admission.report().tokens), (0, 0));
}

/// An image in base64 was taken for a million tokens, and everybody else waited until it had been answered.
#[tokio::test(start_paused = true)]
async fn what_may_be_huge_does_not_have_the_backend_to_itself() {
    let admission = admission(1000, 16);
    let early = admission.try_enter(1_000_000, Priority::Normal).unwrap();
    admission.set_capacity(Some(1000));
    let others: Vec<Slot> = (0..8).map_while(|_| admission.try_enter(5000, Priority::Normal)).collect();
    assert_eq!(others.len(), 3, "four are let in, whatever was let in before tokens were counted");
    drop(early);
    let more: Vec<Slot> = (0..8).map_while(|_| admission.try_enter(5000, Priority::Normal)).collect();
    let report = admission.report();
    assert_eq!((more.len(), report.used, report.requests), (5, 1000, 8), "an eighth of the capacity each");
    drop((others, more));
    assert_eq!(admission.report().tokens, 0, "each takes back what it counted for");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_to_stay_away_for_more_than_a_minute() {
    let admission = admission(1, 16);
    let held = admission.try_enter(1, Priority::Normal).unwrap();
    advance(Duration::from_secs(3600)).await;
    let shed = admission.enter(1, Priority::Normal, None).await.err().unwrap();
    assert_eq!(shed.retry_after, Duration::from_secs(60));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn more_room_lets_in_who_waits() {
    let (admission, mut waiters) = (admission(10, 16), Waiters::new());
    admission.set_capacity(Some(1));
    let held = admission.try_enter(1, Priority::Normal);
    wait(&mut waiters, &admission, 1, Priority::Normal).await;
    admission.set_capacity(Some(2));
    assert!(waiters.join_next().await.unwrap().unwrap().1.is_ok());
    drop(held);
}

#[test]
fn a_place_costs_less_than_a_microsecond() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let least = runtime.block_on(async {
        let admission = Admission::new(Config::default());
        let mut rounds = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..10_000 {
                drop(admission.enter(100, Priority::Normal, None).await.unwrap());
            }
            rounds.push(start.elapsed() / 10_000);
        }
        rounds.into_iter().min().unwrap()
    });
    println!("enter and leave: {least:?}");
    assert!(least < Duration::from_micros(2), "{least:?}; the machine may be busy, so twice as much is let pass");
}
