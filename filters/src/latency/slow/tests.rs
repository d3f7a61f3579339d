use super::super::profile::testing::{millis as time, record, request, rooms, seen, streamed};
use super::*;

fn slow(kept: usize) -> Slow {
    Slow::new(&Config { slow_kept: kept, ..Config::default() }, &["one".into()])
}

fn durations(slow: &Slow, now: Instant) -> Vec<u64> {
    let told = slow.report(now);
    let requests = told["requests"].as_array().unwrap();
    requests.iter().map(|request| request["duration_ms"].as_f64().unwrap() as u64).collect()
}

#[tokio::test(start_paused = true)]
async fn the_slowest_are_kept_whatever_the_order_and_old_ones_make_room_for_what_they_outdid() {
    let begun = Instant::now();
    let slow = slow(3);
    for took in [5, 900, 7, 800, 700, 6, 600] {
        slow.take(begun, &record(time(took), Vec::new(), Some(seen("m"))));
    }
    for took in [50, 40, 30, 20] {
        slow.take(begun + Duration::from_secs(120), &record(time(took), Vec::new(), Some(seen("m"))));
    }
    assert_eq!(durations(&slow, begun + Duration::from_secs(120)), [900, 800, 700]);
    assert_eq!(durations(&slow, begun + Duration::from_secs(899)), [900, 800, 700]);
    assert_eq!(durations(&slow, begun + Duration::from_secs(900)), [50, 40, 30]);
    assert!(durations(&slow, begun + Duration::from_secs(5000)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn against_a_sort_over_many_minutes() {
    let begun = Instant::now();
    let (slow, mut all, mut random) = (slow(8), Vec::new(), fastrand::Rng::with_seed(3));
    for second in 0..3000_u64 {
        let took = random.u64(1..1_000_000);
        all.push((second, took));
        slow.take(begun + Duration::from_secs(second), &record(time(took), Vec::new(), Some(seen("m"))));
        if second % 97 == 0 {
            let oldest = (second / 60 + 1).saturating_sub(15) * 60;
            let mut wanted: Vec<u64> = all.iter().filter(|(at, _)| *at >= oldest).map(|(_, took)| *took).collect();
            wanted.sort_unstable_by(|one, other| other.cmp(one));
            wanted.truncate(8);
            assert_eq!(durations(&slow, begun + Duration::from_secs(second)), wanted, "after {second} s");
        }
    }
    let held = slow.minutes.lock().unwrap().all().iter().map(Vec::len).sum::<usize>();
    assert!(held <= 8 * MINUTES, "{held} are held");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_told_with_its_way() {
    let now = Instant::now();
    let slow = slow(2);
    slow.take(now, &request(&rooms("rate_limit", time(40)), &streamed(), time(5)));
    let told = &slow.report(now)["requests"][0];
    assert_eq!(
        (&told["route"], &told["model"], &told["backend"]),
        (&"/v1/chat/completions".into(), &"m".into(), &"one".into())
    );
    assert_eq!(told["began"], "2026-09-21T14:13:20Z");
    assert_eq!((&told["tokens"]["output"], &told["tokens"]["source"]), (&101.into(), &"measured".into()));
    let line = |place: usize| &told["timeline"][place];
    assert_eq!(
        (&line(1)["name"], &line(1)["depth"], &line(1)["own_ms"]),
        (&"rate_limit".into(), &1.into(), &40.0.into())
    );
    assert_eq!((&line(6)["name"], &line(6)["depth"], &line(6)["chunks"]), (&"backend".into(), &6.into(), &51.into()));
    assert_eq!((&line(6)["first_chunk_ms"], &line(6)["attempt"]), (&200.0.into(), &1.into()));
}

#[tokio::test(start_paused = true)]
async fn none_are_kept_where_none_are_wanted_and_the_lost_are_told_as_such() {
    let now = Instant::now();
    let none = slow(0);
    none.take(now, &record(time(5), Vec::new(), None));
    assert!(durations(&none, now).is_empty());
    let one = slow(1);
    one.take(now, &record(time(5), Vec::new(), None));
    assert_eq!(one.report(now)["requests"][0]["error"], "internal_error");
}

#[tokio::test(start_paused = true)]
async fn spans_that_are_each_others_parents_do_not_hold_anybody_up() {
    use super::super::profile::testing::span;
    let now = Instant::now();
    let slow = slow(1);
    let spans = vec![span(2, "dedup", 3, time(0), time(1)), span(3, "cost", 2, time(0), time(1))];
    slow.take(now, &record(time(5), spans, Some(seen("m"))));
    assert_eq!(slow.report(now)["requests"][0]["timeline"][0]["depth"], 2);
}
