//! What keeping answers costs, in memory, on disk and in Redis: `cargo bench -p outrigger-filters --bench places`.
//!
//! A hundred thousand answers of 2 to 14 KB. Needs redis-server, and two gigabytes of disk in the folder for temporary
//! files.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/redis/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/places/side.rs"]
mod side;

use std::sync::Arc;
use std::time::Duration;

use outrigger_filters::semantic_cache::entry::Entry;
use outrigger_filters::semantic_cache::places::{Listener, Place, Places, Purge, Settings};
use server::{Folder, Server};
use side::{Ear, SCOPE, Side, entry, hint, id, settings};
use tokio::time::Instant;

const ENTRIES: u32 = 100_000;
const READS: u32 = 20_000;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("{ENTRIES} answers of 2 to 14 KB\n");
        memory().await;
        disk().await;
        redis().await;
    });
}

fn kept(number: u32) -> Arc<Entry> {
    let body = vec![b'a' + (number % 26) as u8; 1500 + (number as usize * 7919) % 12_000];
    Arc::new(Entry { body: body.into(), ..entry(number) })
}

fn open(settings: &Settings) -> (Arc<Places>, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    (Places::new(settings, None, listener, &opentelemetry::global::meter("bench")).expect("settings"), ear)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 1000).min(times.len() - 1)];
    println!("{name:44} p50 {:>10?}  p99 {:>10?}  p99.9 {:>10?}", at(500), at(990), at(999));
}

/// What the process takes, in KB, of the kind that is named.
fn resident(kind: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(kind)).expect("a figure");
    line.split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).expect("a number")
}

async fn memory() {
    const CAP: usize = 256 << 20;
    let before = resident("RssAnon");
    let (places, ear) = open(&Settings { memory_bytes: CAP, redis: false, ..settings(None) });
    let mut times = Vec::new();
    for number in 0..ENTRIES {
        let entry = kept(number);
        let begun = Instant::now();
        places.put(entry);
        times.push(begun.elapsed());
    }
    ear.gone.lock().expect("no panic").clear();
    report("put, memory", times);
    let took = (resident("RssAnon") - before) * 1024;
    let counted = places.stats().memory.bytes.unwrap_or(0);
    println!("memory: cap {CAP}, counted {counted}, resident {took} ({:.1} % of the cap)", percent(took, CAP));
    let entries = places.stats().memory.entries.unwrap_or(0) as u32;
    let times = (0..READS).map(|number| {
        let id = id(ENTRIES - 1 - number % (entries / 2));
        let begun = Instant::now();
        std::hint::black_box(places.get(&id));
        begun.elapsed()
    });
    report("get, memory", times.collect());
    let begun = Instant::now();
    let purged = places.purge(Purge::All).await;
    println!("purge of all, memory: {} answers in {:?}\n", purged.here, begun.elapsed());
}

fn percent(part: i64, whole: usize) -> f64 {
    part as f64 * 100.0 / whole as f64
}

async fn disk() {
    let folder = Folder::new();
    let cap: u64 = 2 << 30;
    let disk = Settings { redis: false, disk_bytes: cap, memory_bytes: 1 << 20, ..settings(Some(&folder.0)) };
    let disk = Settings { max_entry_bytes: 64 << 10, ..disk };
    let (places, _) = open(&disk);
    let begun = Instant::now();
    let mut times = Vec::new();
    for number in 0..ENTRIES {
        let entry = kept(number);
        let begun = Instant::now();
        places.put(entry);
        places.learn(hint(number));
        times.push(begun.elapsed());
        if number % 200 == 0 {
            places.finish().await;
        }
    }
    places.finish().await;
    report("put and learn, memory and disk", times);
    println!("all written in {:?}", begun.elapsed());
    drop(places);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (opened, all) = restart(&disk).await;
    println!("start with {ENTRIES} on disk: ready in {opened:?}, all hints heard after {all:?}");
    for name in ["fetch, disk, one at a time", "fetch, disk, again"] {
        fetch(name, &open(&disk).0).await;
    }
    let sizes = std::fs::read_dir(&folder.0)
        .expect("the folder")
        .map(|file| std::os::unix::fs::MetadataExt::blocks(&file.expect("a file").metadata().expect("a size")) * 512);
    let total: u64 = sizes.sum();
    println!("disk: cap {cap}, taken {total} ({:.1} % of the cap)", percent(total as i64, cap as usize));
    fill(&folder, &disk).await;
}

/// How long until the first answer can be had, and until all hints are heard.
async fn restart(disk: &Settings) -> (Duration, Duration) {
    let begun = Instant::now();
    let (places, ear) = open(disk);
    let opened = begun.elapsed();
    assert!(places.fetch(&id(ENTRIES - 1), &SCOPE).await.is_some(), "the last one is there");
    places.finish().await;
    assert_eq!(ear.hints.lock().expect("no panic").len(), ENTRIES as usize);
    (opened, begun.elapsed())
}

async fn fetch(name: &str, places: &Places) {
    let mut times = Vec::new();
    for number in 0..READS {
        let number = number.wrapping_mul(2_654_435_761) % ENTRIES;
        let begun = Instant::now();
        let found = places.fetch(&id(number), &SCOPE).await;
        if matches!(found, Some((_, Place::Disk))) {
            times.push(begun.elapsed());
        }
    }
    println!("{} of {READS} came from disk", times.len());
    report(name, times);
}

/// Far more than fits.
async fn fill(folder: &Folder, disk: &Settings) {
    let cap = 256 << 20;
    let small = Settings { disk_bytes: cap, disk_path: Some(folder.0.join("small")), ..disk.clone() };
    let (places, _) = open(&small);
    for number in 0..ENTRIES {
        places.put(kept(number));
        places.learn(hint(number));
        if number % 200 == 0 {
            places.finish().await;
        }
    }
    places.finish().await;
    let sizes = std::fs::read_dir(folder.0.join("small"))
        .expect("the folder")
        .map(|file| std::os::unix::fs::MetadataExt::blocks(&file.expect("a file").metadata().expect("a size")) * 512);
    let total: u64 = sizes.sum();
    let stats = places.stats().disk;
    println!("overfull disk: cap {cap}, taken {total} ({:.1} % of the cap)", percent(total as i64, cap as usize));
    println!(
        "  {} let go, {} writes dropped, {} damaged\n",
        stats.evictions, stats.dropped_writes, stats.corrupt_reads
    );
}

async fn redis() {
    let server = Server::start(&[]).await;
    let (one, other) = (Side::new(&server.url()).await, Side::with(&server.url(), small()));
    other.ready().await;
    for number in 0..READS {
        one.places.put(kept(number));
        if number % 500 == 0 {
            one.places.finish().await;
        }
    }
    one.places.finish().await;
    let (mut times, mut bare, mut misses) = (Vec::new(), Vec::new(), 0);
    let client = redis::Client::open(server.url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let begun = Instant::now();
    for number in 0..READS {
        // As many as one busy sidecar asks for, rather than all that one connection can take.
        tokio::time::sleep_until(begun + number * Duration::from_millis(1)).await;
        let asked = Instant::now();
        let found = other.places.fetch(&id(number), &SCOPE).await;
        times.push(asked.elapsed());
        misses += u32::from(!matches!(found, Some((_, Place::Redis))));
        let key = format!("outrigger:cache:{{{}}}:e:{}", hex(&SCOPE.0), hex(&id(number).0));
        let asked = Instant::now();
        let got: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("an answer");
        assert!(got.len() > 1000);
        bare.push(asked.elapsed());
    }
    report("fetch, Redis, 1000 a second", times);
    report("a bare GET of the same, in between", bare);
    println!("{misses} of {READS} not found, or not in time");
    for number in 0..10_000 {
        one.places.learn(hint(number));
        if number % 1000 == 0 {
            one.places.finish().await;
        }
    }
    one.places.finish().await;
    let third = Side::new(&server.url()).await;
    let begun = Instant::now();
    third.places.enter(&SCOPE).await;
    let heard = third.ear.hints.lock().expect("no panic").len();
    println!("first use of a scope, Redis: {heard} hints in {:?}", begun.elapsed());
}

fn small() -> Settings {
    Settings { memory_bytes: 4 << 20, ..settings(None) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
