//! What writing calls down costs: `cargo bench -p outrigger-filters --bench ledger`.
//!
//! Needs half a gigabyte of disk in the folder for temporary files. Commits are those of the system's page cache, as
//! in the proxy: a thread of its own moves them on to the disk.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_filters::cost::ledger::{
    Config, Dimension, Ended, Export, Kind, Ledger, Measured, Query, Record, Series, now,
};
use outrigger_filters::money::Money;
use outrigger_filters::usage::{Service, Tokens};
use outrigger_filters::{Route, Tenant};
use tokio::time::Instant;

const DAY: i64 = 86_400_000;
/// Series that calls are spread over.
const SERIES: u64 = 100;
const RECORDS: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(300);

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("outrigger-ledger-bench-{}", std::process::id()))
}

fn open(flush_ms: u32) -> Arc<Ledger> {
    let config = Config {
        ledger_path: folder().join("ledger.sqlite"),
        ledger_flush_ms: NonZeroU32::new(flush_ms).expect("not zero"),
        ..Config::default()
    };
    Ledger::open(&config, &opentelemetry::global::meter("bench")).expect("a ledger")
}

fn all_series() -> Vec<Series> {
    let series = |number: u64| Series {
        tenant: Tenant::of(&(number % 20).to_le_bytes()),
        model: format!("model {}", number / 20).into(),
        backend: "backend".into(),
        route: Route::ChatCompletions,
        tag: None,
    };
    (0..SERIES).map(series).collect()
}

fn record(series: &Series, at: i64) -> Record {
    Record {
        at,
        kind: Kind::Call,
        series: series.clone(),
        measured: Measured::Measured,
        end: Ended::Complete,
        tokens: Tokens { input: 1_000, cached_input: 300, output: 200, ..Tokens::default() },
        service: Service::Standard,
        cost: Some(Money::from_nanos(1_234_567)),
        took_ms: 2_500,
        first_token_ms: Some(300),
        attempt: 1,
        request_id: Some("7d1c9b1e-6e0a-4f6e-9e6b-0d6c1d2f3a4b".into()),
    }
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 1000).min(times.len() - 1)];
    println!("{name:48} p50 {:>10?}  p99 {:>10?}  most {:>10?}", at(500), at(990), at(1000));
}

/// Appends as the proxy would at its most: twenty thousand a second, in all threads together.
fn append(threads: u32) {
    let ledger = open(50);
    let series = all_series();
    let load = || {
        let mut times = Vec::new();
        let begun = Instant::now();
        for number in 0..40_000 / threads {
            let record = record(&series[number as usize % series.len()], now());
            let then = Instant::now();
            ledger.append(record);
            times.push(then.elapsed());
            while begun.elapsed() < Duration::from_micros(50) * threads * number {
                std::hint::spin_loop();
            }
        }
        times
    };
    let times = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(load)).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    report(&format!("append, {threads} threads, 20,000 a second"), times);
    assert!(ledger.flush(PATIENCE));
}

/// What of it is the clock's own.
fn clock() {
    let times = (0..100_000).map(|_| Instant::now().elapsed()).collect();
    report("(reading the clock twice)", times);
}

/// From the first record of a batch until all of it is committed.
fn commit(size: u64) {
    let ledger = open(60_000);
    let series = all_series();
    let mut times = Vec::new();
    for _ in 0..(100_000 / size).clamp(10, 200) {
        (0..size).for_each(|number| ledger.append(record(&series[number as usize % series.len()], now())));
        let begun = Instant::now();
        assert!(ledger.flush(PATIENCE));
        times.push(begun.elapsed());
    }
    report(&format!("commit of {size} records of {} series", SERIES.min(size)), times);
}

/// A month of calls, evenly spread.
fn fill() -> (i64, i64) {
    let (ledger, series) = (open(50), all_series());
    let begin = now() / DAY * DAY - 29 * DAY;
    let begun = Instant::now();
    for number in 0..RECORDS {
        let at = begin + (number * 29 * DAY as u64 / RECORDS) as i64;
        ledger.append(record(&series[fastrand::usize(..series.len())], at));
        if number % 50_000 == 0 {
            assert!(ledger.flush(PATIENCE));
        }
    }
    assert!(ledger.flush(PATIENCE));
    let bytes = folder().join("ledger.sqlite").metadata().map_or(0, |file| file.len());
    println!("{RECORDS} records over 29 days written in {:?}; the file has {} MB", begun.elapsed(), bytes >> 20);
    (begin, begin + 29 * DAY)
}

fn times<T>(count: usize, mut work: impl FnMut() -> T) -> Vec<Duration> {
    let mut once = || {
        let begun = Instant::now();
        drop(work());
        begun.elapsed()
    };
    (0..count).map(|_| once()).collect()
}

fn read((from, until): (i64, i64)) {
    report("open, with a million records", times(10, || open(50)));
    let ledger = open(50);
    let totals = |from, until, by: &[Dimension]| {
        let query = Query { by: by.to_vec(), ..Query::new(from, until) };
        ledger.totals(&query).expect("rows")
    };
    let all = totals(from, until, &[]);
    assert!(all.rows[0].sums.requests >= RECORDS, "{all:?}");
    report("totals of a month", times(50, || totals(from, until, &[])));
    let by = [Dimension::Tenant, Dimension::Model];
    report("totals of a month by tenant and model", times(50, || totals(from, until, &by)));
    report(
        "totals of a month by day and model",
        times(50, || totals(from, until, &[Dimension::Day, Dimension::Model])),
    );
    let odd = (from + 12_345_678, until - 23_456_789);
    report("totals of a month with edges to the millisecond", times(50, || totals(odd.0, odd.1, &by)));
    report("totals of a month by hour", times(10, || totals(from, until, &[Dimension::Hour])));
    report("spent in a month", times(50, || ledger.spent(from, until, |_, _| {}).expect("sums")));
    let export = Export { from, until, ..Export::default() };
    report("export of a million records", times(1, || ledger.export(&export, std::io::sink()).expect("lines")));
}

fn main() {
    std::fs::create_dir_all(folder()).expect("a folder");
    clock();
    [1, 4].into_iter().for_each(append);
    [100, 1_000, 10_000].into_iter().for_each(commit);
    read(fill());
    drop(std::fs::remove_dir_all(folder()));
}
