use std::sync::Arc;
use std::sync::mpsc::channel;

use super::super::testing::record;
use super::super::{Config, Only, Order, Query};
use super::*;

fn memory() -> Arc<Ledger> {
    Ledger::open(&Config::default(), &opentelemetry::global::meter("test")).unwrap()
}

fn calls(ledger: &Ledger) -> u64 {
    assert!(ledger.flush(PATIENCE), "memory takes all");
    let (by, only, order) = (Vec::new(), Only::default(), Order::Cost);
    let query = Query { from: 0, until: i64::MAX, by, only, order, limit: 10 };
    ledger.totals(&query).unwrap().rows.iter().map(|row| row.sums.requests).sum()
}

#[test]
fn what_is_in_memory_goes_over_whole_and_what_comes_later_is_told() {
    let (first, second) = (memory(), memory());
    for number in 0..1000 {
        first.append(record(number, 1));
    }
    let (sender, news) = channel();
    let state = first.hand_over(Box::new(move |news| sender.send(news).unwrap())).unwrap();
    let packed = postcard::to_allocvec(&state).unwrap();
    second.inherit(postcard::from_bytes(&packed).unwrap()).unwrap();
    assert_eq!(second.identity().unwrap(), first.identity().unwrap(), "it is the same ledger");
    second.append(record(1, 1));
    first.append(record(2, 1));
    assert_eq!(calls(&first), 1000, "nothing more is written where nobody will look");
    news.try_iter().for_each(|news| second.hear(news));
    assert_eq!(calls(&second), 1002, "each call once");
}

#[test]
fn what_is_no_ledger_is_refused() {
    let ledger = memory();
    assert!(ledger.inherit(State(Some(vec![7; 4096]))).is_err() || ledger.identity().is_err());
}
