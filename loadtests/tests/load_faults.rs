//! Planted faults through the whole engine, over TCP: each is found, each under its own name, and nothing else is.

#[path = "load_faults/server.rs"]
mod server;

use std::path::Path;
use std::time::Duration;

use outrigger_loadtests::load::engine::{self, Ending, Settings};
use outrigger_loadtests::load::plan::{Plan, Planned, Users};
use outrigger_loadtests::load::result::{Integrity, Run};
use outrigger_loadtests::load::scenario::Scenario;

use server::{FaultyServer, Plant};

const STREAMS: u64 = 100;

async fn run(server: &FaultyServer, plan: Plan) -> Run {
    let text = format!(
        "name = \"faults\"\n[target]\nurl = \"{}\"\ntimeout_secs = 60\n[load]\nmodel = \"closed\"\nusers = 1\n\
         duration_secs = 1\n[[requests]]\nstream = true\nbody_bytes = 300",
        server.url
    );
    // Its plan is not used: here each test has its own.
    let scenario = Scenario::parse(&text, Path::new("faults.toml")).unwrap();
    let finished = engine::run(&scenario, plan, Settings::default(), &mut ()).await.unwrap();
    assert_eq!(finished.ending, Ending::Complete);
    finished.run
}

async fn planted(plant: Plant) -> Run {
    let server = FaultyServer::start(plant, 20).await;
    let planned = |number: u64| Planned { at: Duration::from_millis(2 * number), ..Planned::default() };
    let mut run = run(&server, Plan::Open(Box::new((0..STREAMS).map(planned)))).await;
    // A machine that others use may send late, and the run says so: it is no fault that was planted.
    run.invalid.retain(|why| !why.starts_with("the schedule was not kept"));
    run
}

/// All of them are found as this, and as nothing else.
fn assert_found(run: &Run, error: &str, count: fn(&Integrity) -> u64) {
    assert_eq!(run.errors.get(error), Some(&STREAMS), "{error}: {:?}", run.errors);
    let Integrity { checked, whole, .. } = run.integrity;
    assert_eq!((count(&run.integrity), checked, whole), (STREAMS, STREAMS, 0), "{:?}", run.integrity);
    assert!(!run.passed(), "such a run is no good");
}

#[tokio::test]
async fn a_dropped_event_is_found() {
    assert_found(&planted(Plant::Drop).await, "integrity_lost", |found| found.lost);
}

#[tokio::test]
async fn a_repeated_event_is_found() {
    assert_found(&planted(Plant::Repeat).await, "integrity_repeated", |found| found.repeated);
}

#[tokio::test]
async fn reordered_events_are_found() {
    assert_found(&planted(Plant::Reorder).await, "integrity_reordered", |found| found.reordered);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_found() {
    assert_found(&planted(Plant::Cut).await, "truncated", |found| found.truncated);
}

#[tokio::test]
async fn streams_that_are_crossed_are_found() {
    assert_found(&planted(Plant::Cross).await, "integrity_crossed", |found| found.crossed);
}

#[tokio::test]
async fn a_text_that_is_changed_is_found() {
    assert_found(&planted(Plant::Change).await, "integrity_hash_mismatch", |found| found.hash_mismatch);
}

/// A server that numbers nothing: its streams are not checked, and a cut one is found all the same.
#[tokio::test]
async fn without_marks_nothing_is_checked() {
    let run = planted(Plant::Unmarked).await;
    assert_eq!((run.counts.answered, run.integrity.checked), (STREAMS, 0), "{:?}", run.errors);
    assert!(run.passed(), "{run:?}");
}

#[tokio::test]
async fn a_million_clean_events_raise_no_alarm() {
    let (mut events, tokens) = (0, 100);
    let server = FaultyServer::start(Plant::Nothing, tokens).await;
    // As fast as the machine goes: on a schedule, a slow one would have ever more streams in flight.
    while events < 1_000_000 {
        let users = Users { count: 64, duration: Duration::from_secs(1), think: Duration::ZERO };
        let run = run(&server, Plan::Closed(vec![users])).await;
        let (Integrity { checked, whole, .. }, streams) = (run.integrity, run.counts.sent);
        assert_eq!((checked, whole, run.counts.failed), (streams, streams, 0), "{:?}", run.errors);
        assert_eq!(run.counts.output_tokens, streams * tokens);
        events += run.counts.output_tokens;
    }
}
