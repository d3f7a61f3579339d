//! A ledger's folder, its records, and what SQLite itself says of them.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use outrigger_filters::cost::ledger::{Config, Ended, Kind, Ledger, Measured, Record, Series};
use outrigger_filters::money::Money;
use outrigger_filters::usage::{Service, Tokens};
use outrigger_filters::{Route, Tenant};
use rusqlite::Connection;

/// Tells a process that it is the one that writes, and where.
pub const FOLDER: &str = "OUTRIGGER_TEST_LEDGER";

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("outrigger-ledger-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("ledger.sqlite")
}

pub fn open(folder: &Path) -> Arc<Ledger> {
    let config = Config {
        ledger_path: path(folder),
        ledger_flush_ms: NonZeroU32::new(50).expect("not zero"),
        ..Config::default()
    };
    Ledger::open(&config, &opentelemetry::global::meter("test")).expect("what was left can be opened")
}

/// What SQLite has in the file, through a connection that is none of the ledger's.
pub fn looking(folder: &Path) -> Connection {
    Connection::open(path(folder)).expect("a file")
}

pub fn number(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).expect(query)
}

/// The record of a number, with a cost and a series that follow from it.
pub fn record(number: u64, at: i64) -> Record {
    Record {
        at,
        kind: Kind::Call,
        series: Series {
            tenant: Tenant::of(&[(number % 7) as u8]),
            model: format!("model {}", number % 3).into(),
            backend: "backend".into(),
            route: Route::ChatCompletions,
            tag: None,
        },
        measured: Measured::Measured,
        end: Ended::Complete,
        tokens: Tokens { input: number, output: 10, ..Tokens::default() },
        service: Service::Standard,
        cost: Some(Money::from_nanos(number)),
        took_ms: 1,
        first_token_ms: None,
        attempt: 1,
        request_id: Some(number.to_string().into()),
    }
}

/// This test's binary once more, as one test of it that writes to a folder; by a shell, so that it can be bounded.
pub fn child(test: &str, folder: &Path, before: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" --exact {test} --nocapture")])
        .arg(std::env::current_exe().expect("this test"))
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test again")
}

/// The roll-ups of each span say what the calls add up to, and so do those that were merged.
pub fn agrees(connection: &Connection) {
    let calls = "SELECT series_id, kind, 1 AS requests, input_tokens, cost_nanos, at FROM calls UNION ALL
         SELECT series_id, kind, requests, input_tokens, cost_nanos, start AS at FROM merged_calls";
    for span in [60_000, 3_600_000, 86_400_000] {
        let counted = format!(
            "SELECT at / {span} * {span}, series_id, kind, sum(requests), sum(input_tokens), sum(cost_nanos)
             FROM ({calls}) GROUP BY 1, 2, 3"
        );
        let kept = format!(
            "SELECT start, series_id, kind, requests, input_tokens, cost_nanos FROM rollups WHERE span = {span}"
        );
        for (left, right) in [(&counted, &kept), (&kept, &counted)] {
            let off = number(connection, &format!("SELECT count(*) FROM ({left} EXCEPT {right})"));
            assert_eq!(off, 0, "roll-ups of {span} ms and their records disagree");
        }
    }
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a word");
    assert_eq!(sound, "ok");
}
