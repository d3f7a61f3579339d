//! A process that writes thousands of records a second and is killed in the middle, again and again.
//!
//! It says what it has appended, and when. What is found later has no gap and nothing twice, and what is missing at
//! the end was appended within the last tenth of a second.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::side::{FOLDER, Folder, agrees, child, looking, number, open, record};

/// Appended in a millisecond, also by a busy machine that is late.
const IN_A_MILLISECOND: u64 = 5;
const MOST_LOST: Duration = Duration::from_millis(100);
const LONGEST_OPEN: Duration = Duration::from_secs(1);

/// Since 1970: the clock that parent and child share.
#[expect(clippy::disallowed_methods, reason = "two processes have no other clock in common")]
fn date() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// The process that is killed. As a test of its own it does nothing.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let begun = tokio::time::Instant::now();
    let ledger = open(folder);
    let mut out = std::io::stdout();
    writeln!(out, "\nopened {}", begun.elapsed().as_micros()).expect("a pipe");
    let mut last = number(&looking(folder), "SELECT coalesce(max(CAST(request_id AS INTEGER)), 0) FROM calls") as u64;
    let (known, begun) = (last, tokio::time::Instant::now());
    loop {
        while last - known < begun.elapsed().as_millis() as u64 * IN_A_MILLISECOND {
            last += 1;
            ledger.append(record(last, date().as_millis() as i64));
        }
        // A single write to the pipe: what was appended before the end is told before the end.
        writeln!(out, "appended {last} {}", date().as_micros()).expect("a pipe");
        #[expect(clippy::disallowed_methods, reason = "the load's own thread, and nobody else's")]
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a killed process has said: how long it took to open, and what it appended when.
#[derive(Default)]
struct Said {
    opened: Duration,
    appended: Vec<(u64, Duration)>,
}

impl Said {
    fn read(out: impl std::io::Read) -> Self {
        let mut said = Said::default();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
            match (words.first(), number(1), number(2)) {
                (Some(&"opened"), Some(micros), _) => said.opened = Duration::from_micros(micros),
                (Some(&"appended"), Some(last), Some(micros)) => {
                    said.appended.push((last, Duration::from_micros(micros)));
                }
                _ => {}
            }
        }
        said
    }

    /// How long before the end the first of those that are lost was appended, and how long the machine itself stood
    /// still meanwhile beyond the millisecond between two turns.
    fn lost(&self, found: u64) -> (Duration, Duration) {
        let Some((last, end)) = self.appended.last().copied() else { return Default::default() };
        if found >= last {
            return Default::default();
        }
        let first = self.appended.partition_point(|(number, _)| *number <= found);
        let stood = self.appended[first.saturating_sub(1)..].windows(2).map(|pair| pair[1].1 - pair[0].1);
        let stood = stood.map(|turn| turn.saturating_sub(Duration::from_millis(2))).sum();
        (end - self.appended[first].1, stood)
    }
}

struct Round {
    lost: Duration,
    stood: Duration,
    opened: Duration,
    records: u64,
}

fn round(folder: &Folder, known: u64) -> Round {
    let mut child = child("kill::writer", &folder.0, "");
    let out = child.stdout.take().expect("a pipe");
    let hearing = std::thread::spawn(move || Said::read(out));
    #[expect(clippy::disallowed_methods, reason = "a test's thread that has nothing else to do")]
    std::thread::sleep(Duration::from_millis(fastrand::u64(100..900)));
    assert_eq!(child.try_wait().expect("a state"), None, "the writer ended by itself");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let said = hearing.join().expect("no panic");
    let begun = tokio::time::Instant::now();
    let ledger = open(&folder.0);
    let opened = begun.elapsed().max(said.opened);
    drop(ledger);
    let connection = looking(&folder.0);
    let records = number(&connection, "SELECT count(*) FROM calls") as u64;
    let different = number(&connection, "SELECT count(DISTINCT request_id) FROM calls") as u64;
    let last = number(&connection, "SELECT coalesce(max(CAST(request_id AS INTEGER)), 0) FROM calls") as u64;
    assert_eq!((different, last), (records, records), "a record is there twice, or one in the middle is missing");
    assert!(records >= known, "what was there before is gone");
    agrees(&connection);
    let (lost, stood) = said.lost(records);
    Round { lost, stood, opened, records }
}

fn kill(rounds: usize) {
    let folder = Folder::new();
    let (mut most_lost, mut slowest, mut known) = (Duration::ZERO, Duration::ZERO, 0);
    for _ in 0..rounds {
        let Round { lost, stood, opened, records } = round(&folder, known);
        assert!(lost <= MOST_LOST + stood, "{lost:?} are lost, while the machine stood still for {stood:?}");
        assert!(opened <= LONGEST_OPEN, "it took {opened:?} to open");
        (most_lost, slowest, known) = (most_lost.max(lost), slowest.max(opened), records);
    }
    println!("killed {rounds} times: {known} records, at most {most_lost:?} lost, opened in {slowest:?} at most");
    assert!(known > 1_000 * rounds as u64, "only {known} records: that is no load");
}

#[test]
fn killed_five_times_no_record_is_doubled_and_only_the_last_moment_is_lost() {
    kill(5);
}

#[test]
#[ignore = "a minute long: cargo test -p outrigger-filters --test ledger -- --ignored --nocapture fifty"]
fn killed_fifty_times_no_record_is_doubled_and_only_the_last_moment_is_lost() {
    kill(50);
}
