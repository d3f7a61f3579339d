//! A process that keeps answers and is killed in the middle, again and again: what is found later is whole, or not there.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use outrigger_filters::semantic_cache::entry::{Entry, Form};
use outrigger_filters::semantic_cache::places::{Places, Purge, Settings};

use crate::server::Folder;
use crate::side::{Ear, SCOPE, body, entry, hint, id, settings};

const FOLDER: &str = "OUTRIGGER_TEST_PLACES";
const SEED: &str = "OUTRIGGER_TEST_SEED";
const NUMBERS: u32 = 4000;

fn disk(folder: &Path) -> Settings {
    // Small, so that blocks are used anew all the time.
    Settings { redis: false, disk_bytes: 24 << 20, max_entry_bytes: 64 << 10, ..settings(Some(folder)) }
}

fn open(folder: &Path) -> (Arc<Places>, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let places = Places::new(&disk(folder), None, ear.clone(), &opentelemetry::global::meter("test"));
    (places.expect("what a killed process left can be opened"), ear)
}

/// The process that is killed. As a test of its own it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer() {
    let (Ok(folder), Ok(seed)) = (std::env::var(FOLDER), std::env::var(SEED)) else { return };
    let (places, _) = open(Path::new(&folder));
    let mut number: u32 = seed.parse().expect("a number");
    loop {
        for _ in 0..20 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (number >> 8) % NUMBERS;
            places.put(Arc::new(Entry { era: places.era(), form: events(number), ..entry(number) }));
            places.learn(hint(number));
        }
        if number.is_multiple_of(16) {
            places.purge(Purge::Id(id(number % NUMBERS))).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn events(number: u32) -> Form {
    let length = body(number).len() as u32;
    Form::Events { ends: (1..=10).map(|part| length / 10 * part).chain([length]).collect(), usage: false }
}

fn start(folder: &Folder, seed: u32) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill::writer", "--nocapture"])
        .env(FOLDER, &folder.0)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test again")
}

/// How many answers are there, each of them whole.
async fn check(folder: &Folder) -> usize {
    let begun = tokio::time::Instant::now();
    let (places, ear) = open(&folder.0);
    println!("opened in {:?}", begun.elapsed());
    let mut found = 0;
    for number in 0..NUMBERS {
        if let Some((entry, _)) = places.fetch(&id(number), &SCOPE).await {
            assert!(entry.body == body(number), "answer {number} is not what was put");
            assert_eq!(entry.form, events(number), "answer {number}");
            found += 1;
        }
    }
    places.finish().await;
    for heard in ear.hints.lock().expect("no panic").iter() {
        let number: u32 = heard.text.strip_prefix("question ").and_then(|number| number.parse().ok()).expect("a hint");
        assert_eq!((heard.id, &heard.vector), (id(number), &hint(number).vector), "a hint is not what was learnt");
    }
    found
}

async fn kill(times: u32) {
    let folder = Folder::new();
    let mut found = 0;
    for time in 0..times {
        let mut child = start(&folder, time + 1);
        // At any moment: while it opens, and while it writes.
        tokio::time::sleep(Duration::from_millis(u64::from(time * 37 % 400))).await;
        assert_eq!(child.try_wait().expect("a state"), None, "the writer ended by itself");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        if time % 5 == 4 || time + 1 == times {
            found = check(&folder).await;
        }
    }
    println!("killed {times} times; {found} answers in the end, all whole");
    assert!(found > 100, "only {found} answers survived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_eight_times_no_answer_is_damaged() {
    kill(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute long: cargo test -p outrigger-filters --test places -- --ignored --nocapture hundred"]
async fn killed_a_hundred_times_no_answer_is_damaged() {
    kill(100).await;
}
