use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// Waits for a word before each pass, tells what it was given, and panics where it is told to.
struct Scripted {
    go: mpsc::Receiver<()>,
    seen: mpsc::Sender<Vec<String>>,
}

impl Embed for Scripted {
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.seen.send(texts.iter().map(|text| (*text).to_owned()).collect()).expect("the test listens");
        self.go.recv().map_err(|_| "the test is over")?;
        assert!(!texts.contains(&"panic"), "as it was told");
        if texts.contains(&"fail") { Err("as it was told".into()) } else { Ok(vec![vec![1.0, 2.0]; texts.len()]) }
    }

    fn is_too_long(&self, text: &str) -> bool {
        text == "long"
    }
}

fn pool(queue: usize, batch: usize) -> (Pool, mpsc::Sender<()>, mpsc::Receiver<Vec<String>>) {
    let (go, told) = mpsc::channel();
    let (seen, tells) = mpsc::channel();
    let pool = Pool::new(vec![Scripted { go: told, seen }], queue, batch).expect("a thread");
    (pool, go, tells)
}

fn ask(pool: &Pool, text: &str) -> Result<oneshot::Receiver<Embedded>, Full> {
    pool.ask(text.into(), |embedded| embedded)
}

fn vector() -> Embedded {
    Embedded::Vector(Vector::new(&[1.0, 2.0]).expect("a direction"))
}

#[test]
fn those_who_wait_go_first_and_together() {
    let (pool, go, seen) = pool(8, 2);
    let first = ask(&pool, "first").expect("room");
    assert_eq!(seen.recv(), Ok(vec!["first".to_owned()]));
    pool.later("kept".into(), |_| {}).expect("room");
    let others: Vec<_> = ["a", "b", "c"].into_iter().map(|text| ask(&pool, text).expect("room")).collect();
    (0..4).for_each(|_| go.send(()).expect("it waits"));
    assert_eq!(first.blocking_recv(), Ok(vector()));
    others.into_iter().for_each(|other| assert_eq!(other.blocking_recv(), Ok(vector())));
    let passes: Vec<Vec<String>> = (0..3).map(|_| seen.recv().expect("a pass")).collect();
    assert_eq!(passes, [vec!["a", "b"], vec!["c"], vec!["kept"]]);
}

#[test]
fn a_full_queue_takes_no_more_until_somebody_gives_up() {
    let (pool, _go, seen) = pool(2, 1);
    let _first = ask(&pool, "first").expect("room");
    seen.recv().expect("it is at it");
    let second = ask(&pool, "second").expect("room");
    let _third = ask(&pool, "third").expect("room");
    assert_eq!(ask(&pool, "fourth").err(), Some(Full));
    drop(second);
    assert!(ask(&pool, "fourth").is_ok(), "nobody waits for the second any more");
    (0..2 * LATER).for_each(|_| pool.later("kept".into(), |_| {}).expect("these have places of their own"));
    let (tell, told) = mpsc::channel();
    assert_eq!(pool.later("kept".into(), move |embedded| tell.send(embedded).expect("heard")), Err(Full));
    assert_eq!(told.try_recv(), Ok(Embedded::Failed), "whoever finds no room is told, and loses nothing else");
}

#[test]
fn whoever_gave_up_is_passed_over() {
    let (pool, go, seen) = pool(8, 1);
    let _first = ask(&pool, "first").expect("room");
    seen.recv().expect("it is at it");
    drop(ask(&pool, "second").expect("room"));
    let _third = ask(&pool, "third").expect("room");
    go.send(()).expect("it waits");
    assert_eq!(seen.recv(), Ok(vec!["third".to_owned()]));
}

#[test]
fn failures_and_panics_hang_nobody_and_end_nothing() {
    let (pool, go, _seen) = pool(8, 1);
    (0..8).for_each(|_| go.send(()).expect("it waits"));
    assert_eq!(ask(&pool, "fail").expect("room").blocking_recv(), Ok(Embedded::Failed));
    assert!(ask(&pool, "panic").expect("room").blocking_recv().is_err(), "told by the sender's end");
    let search = pool.ask::<(), _>("search".into(), |_| panic!("in what goes on with it")).expect("room");
    assert!(search.blocking_recv().is_err());
    assert_eq!(ask(&pool, "long").expect("room").blocking_recv(), Ok(Embedded::TooLong));
    assert_eq!(ask(&pool, "again").expect("room").blocking_recv(), Ok(vector()));
}

#[test]
fn who_waits_when_the_pool_goes_is_told() {
    let (pool, go, seen) = pool(8, 1);
    let _first = ask(&pool, "first").expect("room");
    seen.recv().expect("it is at it");
    let second = ask(&pool, "second").expect("room");
    drop(pool);
    assert!(second.blocking_recv().is_err());
    go.send(()).expect("it waits");
    assert!(seen.recv_timeout(Duration::from_secs(5)).is_err(), "the thread has ended");
}

#[test]
fn a_pool_that_is_stopped_has_ended_what_it_was_at_and_takes_nothing_more() {
    let (pool, go, seen) = pool(8, 1);
    let first = ask(&pool, "first").expect("room");
    seen.recv().expect("it is at it");
    go.send(()).expect("it waits");
    pool.stop(Duration::from_secs(60));
    assert_eq!(pool.shared.threads.load(Relaxed), 0);
    assert_eq!(first.blocking_recv(), Ok(vector()), "it was not cut off");
    assert_eq!(ask(&pool, "second").err(), Some(Full));
}
