use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::semantic_cache::places::testing::{Ear, Folder, hint, id};

fn open(folder: &Folder, bytes: u64, leads: impl Fn(&Id) -> bool + Send + 'static) -> (Hints, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let hints = Hints::open(folder.0.join("hints.log"), bytes, Box::new(leads), ear.clone()).expect("a log");
    (hints, ear)
}

fn length(folder: &Folder) -> u64 {
    std::fs::metadata(folder.0.join("hints.log")).expect("the log").len()
}

async fn learn(hints: &Hints, numbers: impl Iterator<Item = u32>) {
    for (count, number) in numbers.enumerate() {
        assert!(hints.learn(hint(number)), "the queue is long enough");
        if count % 1000 == 0 {
            hints.finish().await;
        }
    }
    hints.finish().await;
}

#[tokio::test]
async fn only_hints_that_lead_somewhere_are_told() {
    let folder = Folder::new();
    let (hints, _) = open(&folder, 1 << 30, |_| true);
    learn(&hints, 0..10).await;
    assert!(hints.learn(Hint { until: now(), ..hint(10) }));
    hints.finish().await;
    drop(hints);
    let gone = id(4);
    let (hints, ear) = open(&folder, 1 << 30, move |id| *id != gone);
    hints.finish().await;
    assert_eq!(ear.count(), 9, "one leads nowhere, one is past");
}

#[tokio::test]
async fn a_log_that_is_mostly_dead_is_written_anew() {
    static ALIVE: AtomicBool = AtomicBool::new(true);
    let folder = Folder::new();
    let (hints, _) = open(&folder, 1 << 30, |_| ALIVE.load(Ordering::Relaxed));
    // The same hundred again and again.
    learn(&hints, (0..20_000).map(|number| number % 100)).await;
    assert!(length(&folder) <= SHORT + 1024, "{} bytes for a hundred hints", length(&folder));
    drop(hints);
    ALIVE.store(false, Ordering::Relaxed);
    let (hints, ear) = open(&folder, 1 << 30, |_| ALIVE.load(Ordering::Relaxed));
    hints.finish().await;
    assert_eq!((ear.count(), length(&folder)), (0, 0));
}

#[tokio::test]
async fn the_log_stays_within_its_cap_and_keeps_the_newest() {
    let folder = Folder::new();
    let (hints, _) = open(&folder, 200_000, |_| true);
    for number in 0..20_000 {
        while !hints.learn(hint(number)) {
            tokio::task::yield_now().await;
        }
        if number % 500 == 0 {
            hints.finish().await;
            assert!(length(&folder) <= 200_000 + 1024, "{} bytes", length(&folder));
        }
    }
    hints.finish().await;
    drop(hints);
    let (hints, ear) = open(&folder, 200_000, |_| true);
    hints.finish().await;
    assert!(ear.count() > 500, "{} hints fit", ear.count());
    let told = ear.hints.lock().expect("no panic");
    assert!(told.iter().any(|hint| hint.id == id(19_999)), "the newest is kept");
}
