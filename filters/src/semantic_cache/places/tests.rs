//! Places of one process: memory and disk.

use super::testing::{Ear, Folder, SCOPE, entry, hint, id, open, settings};
use super::*;
use crate::semantic_cache::entry::now;

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited a minute in vain: {what}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

#[tokio::test]
async fn what_is_put_is_there_at_once() {
    let (places, _) = open(&settings(None));
    let put = Arc::new(entry(1));
    places.put(put.clone());
    assert_eq!(places.get(&id(1)), Some(put.clone()));
    assert_eq!(places.fetch(&id(1), &SCOPE).await, Some((put, Place::Memory)));
}

#[tokio::test]
async fn another_scope_gets_nothing() {
    let (places, _) = open(&settings(None));
    places.put(Arc::new(entry(1)));
    assert_eq!(places.fetch(&id(1), &Scope([6; 32])).await, None);
}

#[tokio::test]
async fn what_is_past_its_time_is_gone_and_what_is_stale_is_not() {
    let (places, ear) = open(&settings(None));
    let old = now() - 61_000;
    places.put(Arc::new(Entry { stored: old, ..entry(1) }));
    assert!(places.get(&id(1)).is_some(), "stale, but kept");
    places.put(Arc::new(Entry { kept: Duration::from_millis(30), ..entry(2) }));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(places.get(&id(2)), None, "its time is over");
    assert_eq!(places.fetch(&id(2), &SCOPE).await, None);
    assert!(ear.has_lost(&id(2)), "whoever finds by meaning must forget it");
    places.put(Arc::new(Entry { stored: now() - 31 * 24 * 3_600_000, kept: Duration::MAX, ..entry(3) }));
    assert_eq!(places.get(&id(3)), None, "no entry may outlive the rules that could hide it");
}

#[tokio::test]
async fn memory_stays_within_its_cap_and_tells_of_what_leaves() {
    let small = Settings { memory_bytes: 1 << 20, max_entry_bytes: 16 << 10, ..settings(None) };
    let (places, ear) = open(&small);
    for number in 0..2000 {
        places.put(Arc::new(entry(number)));
        assert!(places.stats().memory.bytes <= Some(1 << 20), "over the cap with entry {number}");
    }
    let stats = places.stats().memory;
    assert!(stats.bytes > Some(900 << 10), "most of it is used: {stats:?}");
    assert_eq!(stats.entries.unwrap_or(0) + stats.evictions, 2000);
    assert_eq!(ear.gone.lock().expect("no panic").len() as u64, stats.evictions, "each that left was told of");
    assert!(places.get(&id(1999)).is_some(), "the last one is there");
}

#[tokio::test]
async fn an_entry_larger_than_allowed_is_not_kept_and_takes_the_place_of_none() {
    let (places, _) = open(&settings(None));
    let large = Entry { body: vec![b'x'; 300 << 10].into(), ..entry(1) };
    places.put(Arc::new(large));
    assert_eq!(places.get(&id(1)), None);
    assert_eq!(places.stats().memory.dropped_writes, 1);
}

#[test]
fn a_restart_finds_answers_and_hints_again() {
    let folder = Folder::new();
    let disk = settings(Some(&folder));
    runtime().block_on(async {
        let (places, _) = open(&disk);
        for number in 0..300 {
            places.put(Arc::new(entry(number)));
            places.learn(hint(number));
        }
        places.finish().await;
    });
    runtime().block_on(async {
        let (places, ear) = open(&disk);
        assert_eq!(places.get(&id(1)), None, "memory begins empty");
        for number in 0..300 {
            let (found, place) = places.fetch(&id(number), &SCOPE).await.expect("kept on disk");
            assert_eq!((place, &found.body), (Place::Disk, &entry(number).body));
            assert!(places.get(&id(number)).is_some(), "now in memory");
        }
        until("hints are read back", || ear.count() == 300).await;
        assert_eq!(ear.hints.lock().expect("no panic")[7].text, hint(7).text);
    });
}

#[test]
fn with_a_disk_what_memory_has_no_room_for_is_still_had_and_its_hint_stays() {
    let folder = Folder::new();
    let small = Settings { memory_bytes: 1 << 20, max_entry_bytes: 16 << 10, ..settings(Some(&folder)) };
    runtime().block_on(async {
        let (places, ear) = open(&small);
        for number in 0..1000 {
            places.put(Arc::new(entry(number)));
            if number % 100 == 0 {
                places.finish().await;
            }
        }
        places.finish().await;
        assert!(places.stats().memory.evictions > 100, "memory was too small for all");
        let mut from_disk = 0;
        for number in 0..1000 {
            let (found, place) = places.fetch(&id(number), &SCOPE).await.expect("somewhere");
            assert_eq!(found.body, entry(number).body);
            from_disk += usize::from(place == Place::Disk);
        }
        assert!(from_disk > 100, "only {from_disk} came from disk");
        assert!(ear.gone.lock().expect("no panic").is_empty(), "nothing was lost");
    });
}

#[test]
fn what_was_removed_does_not_come_back_with_a_restart_but_a_new_one_does() {
    let folder = Folder::new();
    let disk = settings(Some(&folder));
    runtime().block_on(async {
        let (places, ear) = open(&disk);
        (1..=3).for_each(|number| places.put(Arc::new(entry(number))));
        places.finish().await;
        places.remove(&id(1), &SCOPE);
        places.remove(&id(2), &SCOPE);
        assert!(ear.has_lost(&id(1)));
        tokio::time::sleep(Duration::from_millis(2)).await;
        places.put(Arc::new(entry(2)));
        places.finish().await;
        assert_eq!(places.fetch(&id(1), &SCOPE).await, None);
    });
    runtime().block_on(async {
        let (places, _) = open(&disk);
        assert_eq!(places.fetch(&id(1), &SCOPE).await, None, "removed before the restart");
        assert!(places.fetch(&id(2), &SCOPE).await.is_some(), "put anew after it was removed");
        assert!(places.fetch(&id(3), &SCOPE).await.is_some());
    });
}

#[test]
fn a_purge_holds_in_memory_on_disk_and_after_a_restart() {
    let folder = Folder::new();
    let disk = settings(Some(&folder));
    let other = |number| Entry { model: "other".into(), ..entry(number) };
    runtime().block_on(async {
        let (places, ear) = open(&disk);
        (0..10).for_each(|number| places.put(Arc::new(entry(number))));
        (10..15).for_each(|number| places.put(Arc::new(other(number))));
        places.finish().await;
        let purged = places.purge(Purge::Model("other".into())).await;
        assert_eq!(purged, Purged { here: 5, everywhere: true, lasting: true });
        assert!(ear.has_lost(&id(12)));
        assert_eq!(places.fetch(&id(12), &SCOPE).await, None);
        assert!(places.fetch(&id(3), &SCOPE).await.is_some());
    });
    runtime().block_on(async {
        let (places, _) = open(&disk);
        assert!(places.era() > 0, "the era outlives the process");
        assert_eq!(places.fetch(&id(13), &SCOPE).await, None);
        assert!(places.fetch(&id(4), &SCOPE).await.is_some());
        places.put(Arc::new(Entry { era: places.era(), ..other(13) }));
        assert!(places.get(&id(13)).is_some(), "asked after the purge");
    });
}

#[tokio::test]
async fn an_answer_that_was_being_made_when_the_purge_came_is_never_seen() {
    let (places, _) = open(&settings(None));
    let asked = places.era();
    places.purge(Purge::Tag(None, "tag".into())).await;
    places.put(Arc::new(Entry { era: asked, ..entry(1) }));
    assert_eq!(places.get(&id(1)), None);
    assert_eq!(places.fetch(&id(1), &SCOPE).await, None);
    places.put(Arc::new(Entry { era: places.era(), ..entry(1) }));
    assert!(places.get(&id(1)).is_some());
}

#[test]
fn a_damaged_disk_gives_a_miss_and_no_wrong_answer() {
    let folder = Folder::new();
    let disk = settings(Some(&folder));
    runtime().block_on(async {
        let (places, _) = open(&disk);
        (0..200).for_each(|number| places.put(Arc::new(entry(number))));
        places.finish().await;
    });
    for file in std::fs::read_dir(&folder.0).expect("the folder") {
        let path = file.expect("a file").path();
        if path.extension().is_none() {
            let mut bytes = std::fs::read(&path).expect("a block");
            // Behind the first index, so that entries are found, and something of most is wrong.
            (4096..bytes.len()).step_by(5000).for_each(|at| bytes[at] ^= 0x20);
            std::fs::write(&path, bytes).expect("a block");
        }
    }
    runtime().block_on(async {
        let (places, _) = open(&disk);
        let mut found = 0;
        for number in 0..200 {
            if let Some((got, _)) = places.fetch(&id(number), &SCOPE).await {
                assert_eq!(got.body, entry(number).body);
                found += 1;
            }
        }
        let corrupt = places.stats().disk.corrupt_reads;
        assert!(corrupt > 0 && found < 200, "{found} found, {corrupt} corrupt");
    });
}

#[test]
fn the_disk_stays_within_its_cap() {
    let folder = Folder::new();
    let small =
        Settings { disk_bytes: 8 << 20, max_entry_bytes: 64 << 10, memory_bytes: 1 << 20, ..settings(Some(&folder)) };
    runtime().block_on(async {
        let (places, _) = open(&small);
        for number in 0..6000 {
            places.put(Arc::new(entry(number)));
            places.learn(hint(number));
            if number % 200 == 0 {
                places.finish().await;
            }
        }
        places.finish().await;
        assert!(places.stats().disk.evictions > 0, "the disk had to let go of some");
        let total = disk::bytes_in(&folder.0).expect("the folder");
        assert!(total <= 8 << 20, "{total} bytes on disk");
        assert!(places.fetch(&id(5999), &SCOPE).await.is_some(), "the newest is there");
    });
}

#[test]
fn settings_that_leave_no_room_are_refused_in_words() {
    let folder = Folder::new();
    let tiny = Settings { disk_bytes: 1 << 20, ..settings(Some(&folder)) };
    let refused = Places::new(&tiny, None, Arc::new(Ear::default()), &opentelemetry::global::meter("test"));
    let words = refused.err().expect("too small").to_string();
    assert!(words.contains("are the least"), "{words}");
}

#[test]
fn a_folder_that_another_uses_is_refused() {
    let folder = Folder::new();
    let disk = settings(Some(&folder));
    let (_places, _) = open(&disk);
    let refused = Places::new(&disk, None, Arc::new(Ear::default()), &opentelemetry::global::meter("test"));
    let words = refused.err().expect("in use").to_string();
    assert!(words.contains("another process"), "{words}");
}

/// A process killed after it had begun its last free block left a disk that never took a write again, and `finish`
/// waited for ever.
#[test]
fn a_disk_left_without_a_free_block_takes_writes_again() {
    let folder = Folder::new();
    let disk = Settings { disk_bytes: 8 << 20, max_entry_bytes: 64 << 10, ..settings(Some(&folder)) };
    runtime().block_on(async {
        let (places, _) = open(&disk);
        (0..500).for_each(|number| places.put(Arc::new(entry(number))));
        places.finish().await;
    });
    let blocks: Vec<_> = std::fs::read_dir(&folder.0)
        .expect("the folder")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_none() && !path.ends_with("lock"))
        .collect();
    let is_used = |path: &&PathBuf| std::fs::read(path).expect("a block")[..4096].iter().any(|byte| *byte != 0);
    let used = std::fs::read(blocks.iter().find(is_used).expect("one in use")).expect("a block");
    for free in blocks.iter().filter(|path| !is_used(path)) {
        std::fs::write(free, &used).expect("a block");
    }
    runtime().block_on(async {
        let (places, _) = open(&disk);
        places.put(Arc::new(entry(1000)));
        let finished = tokio::time::timeout(Duration::from_secs(60), places.finish()).await;
        assert!(finished.is_ok(), "it waits for a block that nobody lets go of");
    });
    runtime().block_on(async {
        let (places, _) = open(&disk);
        assert!(places.fetch(&id(1000), &SCOPE).await.is_some(), "it was not written");
    });
}

#[test]
fn a_smaller_cap_holds_from_the_next_start_on() {
    let folder = Folder::new();
    let large = Settings { disk_bytes: 64 << 20, max_entry_bytes: 64 << 10, ..settings(Some(&folder)) };
    runtime().block_on(async {
        let (places, _) = open(&large);
        (0..3000).for_each(|number| places.put(Arc::new(entry(number))));
        places.finish().await;
    });
    let small = Settings { disk_bytes: 4 << 20, ..large };
    runtime().block_on(async {
        let (places, _) = open(&small);
        places.put(Arc::new(entry(5000)));
        places.finish().await;
        assert!(disk::bytes_in(&folder.0).expect("the folder") <= 4 << 20);
        for number in 0..3000 {
            if let Some((found, _)) = places.fetch(&id(number), &SCOPE).await {
                assert_eq!(found.body, entry(number).body);
            }
        }
    });
}
