use std::time::Duration;

use super::testing::{call, millis, record, request, rooms, seen, span, streamed};
use super::*;
use crate::trace::{Outcome, Seen};

fn profile(now: Instant) -> Profile {
    Profile::new(&Config::default(), &["one".into(), "two".into()], now)
}

fn near(found: &serde_json::Value, wanted: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - wanted).abs() <= wanted * 0.011 + 1e-6)
}

#[tokio::test(start_paused = true)]
async fn a_request_is_taken_apart_into_what_each_had_of_it() {
    let record = request(&rooms("semantic_cache", millis(30)), &streamed(), millis(12));
    let digest = Digest::of(&record);
    let of = |name: &str| digest.parts.iter().find(|(part, _)| *part == name).map_or(-1.0, |(_, seconds)| *seconds);
    let parts = [
        ("semantic_cache", 0.030),
        ("dedup", 0.000_05),
        (part::WAITING, 0.200),
        (part::GENERATING, 1.0),
        (part::CLIENT, 0.013),
        (part::OTHER, 0.0),
    ];
    for (name, wanted) in parts {
        assert!((of(name) - wanted).abs() < 1e-9, "{name}: {}", of(name));
    }
    let all: f64 = digest.parts.iter().map(|(_, seconds)| seconds).sum();
    assert!((all - record.took.as_secs_f64()).abs() < 1e-9, "the parts are the whole: {all}");
    assert_eq!(digest.calls[0].per_output(), Some(0.01), "by the tokens that the backend counted, not by chunks");
}

#[test]
fn calls_side_by_side_are_not_counted_twice_and_neither_is_what_goes_on_behind_the_head() {
    let mut slow = call(3, 2, millis(1), &streamed());
    slow.outcome = Outcome::LetGo;
    let spans = vec![span(2, "breaker", 1, millis(0), millis(151)), slow, call(4, 2, millis(101), &streamed())];
    assert_eq!(own(&spans[0], &spans), millis(1));
    let record = record(millis(2000), spans, Some(seen("m")));
    let digest = Digest::of(&record);
    let all: f64 = digest.parts.iter().map(|(_, seconds)| seconds).sum();
    assert!(all <= 2.0 + 1e-9, "more than the whole: {all}");
    assert_eq!(digest.calls.iter().map(|call| call.is_good).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn the_figures_are_those_of_what_was_fed() {
    let begun = Instant::now();
    let profile = profile(begun);
    for second in 0..60 {
        let now = begun + Duration::from_secs(second);
        profile.take(now, &request(&rooms("", millis(0)), &streamed(), millis(0)));
        let hit = Seen { cache: Some("HIT"), first_token: Some(millis(1)), ..seen("m") };
        profile.take(now, &record(millis(2), vec![span(2, "dedup", 1, millis(0), millis(1))], Some(hit)));
        let failed = Seen { status: 502, error: Some("backend_cut"), ..seen("other") };
        profile.take(now, &record(millis(9), Vec::new(), Some(failed)));
        let wrong = Seen { status: 404, error: Some("model_not_found"), ..seen("other") };
        profile.take(now, &record(millis(1), Vec::new(), Some(wrong)));
        let gone = Seen { status: 200, error: Some("abandoned"), dedup: Some("follower"), ..seen("m") };
        profile.take(now, &record(millis(1), Vec::new(), Some(gone)));
        profile.take(now, &record(millis(1), Vec::new(), Some(Seen { passed: Some("/x".into()), ..seen("m") })));
    }
    let now = begun + Duration::from_secs(59);
    let metrics = profile.metrics(now);
    for window in ["1m", "5m", "15m"] {
        let whole = &metrics["whole"][window];
        assert_eq!((whole["count"].as_u64(), whole["passed"].as_u64()), (Some(300), Some(60)), "{whole}");
        assert!(near(&whole["error_share"], 0.333), "60 of 180: {whole}");
        assert_eq!(whole["errors_by_class"]["backend"], 60);
        assert_eq!((&whole["client_errors"], &whole["abandoned"]), (&60.into(), &60.into()));
        assert!(near(&whole["cache_hit_share"], 0.2), "{whole}");
        assert!(near(&whole["follower_share"], 0.2), "{whole}");
        assert!(near(&whole["tokens_out_per_second"], 101.0 * 60.0 / 59.0), "{whole}");
        assert!(near(&whole["first_token"]["p99_ms"], 201.3), "{whole}");
    }
    let lane = &metrics["backends"]["one"]["1m"];
    assert!(near(&lane["first_chunk"]["p50_ms"], 200.0) && near(&lane["per_output"]["p50_ms"], 10.0), "{lane}");
    assert_eq!(metrics["calls"][0]["model"], "m");
    assert!(metrics["rooms"]["dedup"]["5m"]["count"] == 120, "{}", metrics["rooms"]["dedup"]);
    let reading = |reading, of| profile.reading(now, reading, Window::Five, of);
    assert!((reading(Reading::ErrorShare, Of::default()).unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!(reading(Reading::ErrorShare, Of { model: Some("other"), backend: None }), Some(1.0));
    assert_eq!(reading(Reading::ErrorShare, Of { backend: Some("two"), model: None }), None, "nobody asked it");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_names_make_no_more_groups_than_the_bound_and_are_let_go() {
    let begun = Instant::now();
    let profile = profile(begun);
    for number in 0..100_000_u64 {
        let now = begun + Duration::from_micros(number * 10);
        let mut record = request(&rooms("", millis(0)), &streamed(), millis(0));
        let name: Arc<str> = format!("m{number}").into();
        record.seen.as_mut().unwrap().model = Some(name.clone());
        record.spans.last_mut().unwrap().called.as_mut().unwrap().model = Some(name);
        profile.take(now, &record);
    }
    let later = begun + Duration::from_secs(2);
    let metrics = profile.metrics(later);
    let models = metrics["models"].as_object().unwrap();
    assert_eq!((models.len(), metrics["calls"].as_array().unwrap().len()), (129, 129));
    assert_eq!(models["_OTHER"]["15m"]["count"], 100_000 - 128);
    let later = begun + Duration::from_secs(902);
    profile.take(later, &request(&rooms("", millis(0)), &streamed(), millis(0)));
    let metrics = profile.metrics(later);
    assert_eq!(metrics["models"].as_object().unwrap().len(), 1, "the old ones are gone");
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let profile = profile(begun);
        let record = request(&rooms("", millis(0)), &streamed(), millis(1));
        for _ in 0..10_000 {
            profile.take(begun, &record);
        }
        let timer = Instant::now();
        for number in 0..200_000 {
            profile.take(begun + Duration::from_millis(number), &record);
        }
        println!("take: {} ns", timer.elapsed().as_nanos() / 200_000);
        let timer = Instant::now();
        let told = profile.metrics(begun + Duration::from_secs(200)).to_string().len();
        println!("metrics of one model: {:?}, {told} bytes", timer.elapsed());
        let profile = self::profile(begun);
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
        };
        let before = resident();
        for number in 0..128 * 900_u64 {
            let mut record = request(&rooms("", millis(0)), &streamed(), millis(number % 1000));
            let name: Arc<str> = format!("m{}", number % 128).into();
            record.seen.as_mut().unwrap().model = Some(name.clone());
            record.spans.last_mut().unwrap().called.as_mut().unwrap().model = Some(name);
            profile.take(begun + Duration::from_micros(number * 1_000_000 / 128), &record);
        }
        let timer = Instant::now();
        let told = profile.metrics(begun + Duration::from_secs(900)).to_string().len();
        println!("128 models at one a second each: {} bytes more resident", resident() - before);
        println!("metrics of 128 models: {:?}, {told} bytes", timer.elapsed());
    });
}
