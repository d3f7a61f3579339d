use super::*;
use crate::semantic_cache::places::testing::Folder;

fn read(path: &Path) -> (Vec<Vec<u8>>, Tail) {
    let mut records = Vec::new();
    let (_, tail) = Log::open(path, |record| records.push(record.to_vec())).expect("a log");
    (records, tail)
}

fn three() -> [Vec<u8>; 3] {
    [b"one".to_vec(), Vec::new(), vec![3; 300]]
}

fn write(path: &Path) -> Vec<u8> {
    let (mut log, _) = Log::open(path, |_| ()).expect("a log");
    three().iter().for_each(|record| log.append(record).expect("room"));
    std::fs::read(path).expect("the file")
}

#[test]
fn torn_at_any_byte_all_whole_records_are_read_and_writing_goes_on() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    let whole = write(&path);
    let ends = [0, HEAD + 3, 2 * HEAD + 3, whole.len()];
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).expect("the file");
        let count = ends.iter().filter(|end| **end <= length).count() - 1;
        let (records, tail) = read(&path);
        assert_eq!(records, three()[..count], "torn at byte {length}");
        let torn = if ends.contains(&length) { Tail::Whole } else { Tail::Torn };
        assert_eq!(tail, torn, "torn at byte {length}");
        let (mut log, _) = Log::open(&path, |_| ()).expect("a log");
        log.append(b"next").expect("room");
        let (records, _) = read(&path);
        assert_eq!(records.last().map(Vec::as_slice), Some(b"next".as_slice()), "torn at byte {length}");
        assert_eq!(records.len(), count + 1, "torn at byte {length}");
    }
}

#[test]
fn no_flipped_byte_gets_a_wrong_record_read() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    let whole = write(&path);
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).expect("the file");
        let (records, tail) = read(&path);
        assert!(records.len() < 3 && three().starts_with(&records), "byte {at}: {records:?}");
        assert_ne!(tail, Tail::Whole, "byte {at} went unseen");
    }
}

#[test]
fn a_replaced_log_has_its_new_records_and_goes_on() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    write(&path);
    let (mut log, _) = Log::open(&path, |_| ()).expect("a log");
    log.replace(|new| new.append(b"kept")).expect("room");
    log.append(b"later").expect("room");
    assert_eq!(log.length(), std::fs::metadata(&path).expect("the file").len());
    assert_eq!(read(&path).0, [b"kept".to_vec(), b"later".to_vec()]);
}
