//! A disk that takes no more, and later does again: the system bounds how large the process's files may be.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use outrigger_filters::cost::ledger::now;

use crate::side::{FOLDER, Folder, agrees, child, looking, number, open, record};

/// So many that two hundred thousand can wait one by one and some thousand can't.
const RECORDS: u64 = 215_000;
/// Kilobytes, after which a file takes no more.
const BOUND: u32 = 1_024;

/// The process that writes. As a test of its own it does nothing.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let ledger = open(Path::new(&folder));
    let mut out = std::io::stdout();
    for number in 1..=RECORDS {
        ledger.append(record(number, now()));
    }
    let is_written = ledger.flush(Duration::from_secs(3));
    writeln!(out, "\nfull {} {}", is_written, ledger.pending()).expect("a pipe");
    let is_written = ledger.flush(Duration::from_secs(120));
    writeln!(out, "\nfree {} {}", is_written, ledger.pending()).expect("a pipe");
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok)
}

#[test]
fn while_the_disk_is_full_records_wait_and_when_it_is_not_all_are_written() {
    let folder = Folder::new();
    let before = format!("trap '' XFSZ; ulimit -S -f {};", BOUND * 2);
    let mut child = child("disk::writer", &folder.0, &before);
    let process = child.id().to_string();
    let mut lines = lines(&mut child);
    let full = lines.find(|line| line.starts_with("full")).expect("the writer's word");
    let pending: u64 = full.strip_prefix("full false ").expect("the disk is full").parse().expect("a number");
    assert!(pending > RECORDS / 2, "{pending} wait");
    let freed = Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited"]).status();
    assert!(freed.expect("prlimit").success());
    assert_eq!(lines.find(|line| line.starts_with("free")).as_deref(), Some("free true 0"));
    assert!(child.wait().expect("an end").success());
    let connection = looking(&folder.0);
    let calls = number(&connection, "SELECT count(*) FROM calls");
    let merged = number(&connection, "SELECT coalesce(sum(requests), 0) FROM merged_calls");
    assert_eq!((calls + merged) as u64, RECORDS, "{calls} one by one and {merged} added up");
    assert!(merged > 0, "more waited than can wait one by one");
    let cost = number(&connection, "SELECT sum(cost_nanos) FROM rollups WHERE span = 86400000");
    assert_eq!(cost as u64, RECORDS * (RECORDS + 1) / 2, "no money is lost");
    agrees(&connection);
}
