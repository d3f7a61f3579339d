use super::{Clock, LOG_LENGTH, Ledger, Status};

fn ledger() -> std::sync::Arc<Ledger> {
    Ledger::new(Clock::start())
}

#[test]
fn the_books_balance_however_a_generation_ends() {
    let ledger = ledger();
    ledger.start("/a").finish();
    ledger.start("/a").fail();
    drop(ledger.start("/a"));
    let running = ledger.start("/a");
    let counts = ledger.counts();
    assert_eq!((counts.started, counts.finished, counts.cancelled, counts.failed, counts.active), (4, 1, 1, 1, 1));
    assert_eq!(counts.peak_active, 1, "one at a time");
    drop(running);
    assert_eq!(ledger.counts().active, 0, "the last one is gone");
}

#[test]
fn an_end_is_booked_once() {
    let ledger = ledger();
    let mut generation = ledger.start("/a");
    generation.finish();
    generation.fail();
    drop(generation);
    let counts = ledger.counts();
    assert_eq!((counts.finished, counts.failed, counts.cancelled), (1, 0, 0), "only the first end counts");
}

#[test]
fn a_reset_keeps_what_runs() {
    let ledger = ledger();
    ledger.start("/a").finish();
    let running = ledger.start("/a");
    ledger.reset();
    assert_eq!(ledger.counts().started, 1, "the active one counts as started anew");
    drop(running);
    let counts = ledger.counts();
    assert_eq!(counts.started, counts.finished + counts.cancelled + counts.failed + counts.active, "balanced");
    assert_eq!(ledger.start("/a").number(), 3, "numbers go on");
}

#[test]
fn the_log_remembers_the_latest_in_order() {
    let ledger = ledger();
    let mut first = ledger.start("/a");
    for _ in 0..LOG_LENGTH {
        ledger.start("/b").finish();
    }
    first.finish();
    let log = ledger.log();
    assert_eq!(log.len(), LOG_LENGTH, "the log is full");
    assert_eq!(log[0].generation, 2, "the oldest was overwritten, and its late end lands nowhere");
    assert!(log.iter().all(|entry| entry.status == Status::Finished && entry.ended_us.is_some()), "all ended");
    assert!(log.is_sorted_by_key(|entry| entry.generation), "oldest first");
}
