use std::time::Duration;

use super::*;
use crate::latency::profile::Digest;
use crate::latency::profile::testing::{Streamed, millis as time, request, rooms, streamed};
use crate::windows::Windows;

struct Planted {
    profile: Profile,
    regressions: Regressions,
    config: Config,
    now: Instant,
}

impl Planted {
    fn new() -> Self {
        let (config, now) = (Config::default(), Instant::now());
        let backends = ["one".to_owned(), "two".to_owned()];
        let regressions = Regressions::open(&config, &backends, now);
        Planted { profile: Profile::new(&config, &backends, now), regressions, config, now }
    }

    /// Four requests a second for so long.
    fn run(mut self, seconds: u64, room: &'static str, own: u64, calls: &[Streamed]) -> Self {
        for second in 0..seconds * 4 {
            for call in calls {
                // Times that differ a little, as times do.
                let odd = Duration::from_micros(second * 7919 % 20_000);
                let call = Streamed { first: call.first + odd, ..*call };
                let record = request(&rooms(room, time(own)), &call, time(2));
                let digest = Digest::of(&record);
                self.profile.count(self.now, &digest);
                self.regressions.count(self.now, &digest);
            }
            self.now += Duration::from_millis(250);
            if second % 20 == 19 {
                self.regressions.tick(self.now);
            }
        }
        self
    }

    fn report(&self, dependencies: &Dependencies) -> Value {
        report(self.now, &self.config, &self.profile, &self.regressions, dependencies)
    }
}

fn summary(millis: f64, count: usize) -> Option<Summary> {
    let now = Instant::now();
    let mut windows = Windows::default();
    (0..count).for_each(|_| windows.record(now, millis / 1000.0));
    windows.summary(now, Window::Five)
}

fn redis(millis: f64, timeout_ms: f64, timeouts: u64) -> Dependencies {
    let redis = Redis { calls: summary(millis, 1000), timeout_ms, timeouts, errors: 0 };
    Dependencies { redis: Some(redis), ..Dependencies::default() }
}

fn embedder(waiting: u64, wait: f64, run: f64, refused_share: f64) -> Dependencies {
    let embedder =
        Embedder { waiting, queue_limit: 64, wait: summary(wait, 100), run: summary(run, 100), refused_share };
    Dependencies { embedder: Some(embedder), ..redis(0.3, 50.0, 0) }
}

fn named(report: &Value) -> (&str, &str, &str) {
    let of = |key: &str| report["bottleneck"][key].as_str().unwrap_or("nothing");
    (of("part"), of("name"), of("severity"))
}

#[tokio::test(start_paused = true)]
async fn while_all_is_well_the_backend_takes_the_time_and_nothing_is_wrong() {
    let report = Planted::new().run(120, "", 0, &[streamed()]).report(&redis(0.3, 50.0, 0));
    assert_eq!(named(&report), ("backend", "one", "none"), "{report}");
    assert!(report["bottleneck"]["share"].as_f64().unwrap() > 0.99, "{report}");
    assert_eq!(report["recommendations"], json!([]));
    let shares: f64 = report["parts"].as_array().unwrap().iter().map(|part| part["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 0.01, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_redis_is_named_whichever_room_asks_it() {
    for room in ["rate_limit", "semantic_cache", "cost"] {
        let report = Planted::new().run(120, room, 45, &[streamed()]).report(&redis(40.0, 50.0, 0));
        assert_eq!(named(&report), ("redis", "redis", "minor"), "{room}: {report}");
        assert!(report["bottleneck"]["evidence"][0].as_str().unwrap().contains(room), "{report}");
        assert!(report["recommendations"][0].as_str().unwrap().contains("redis.timeout_ms"));
    }
    let report = Planted::new().run(120, "rate_limit", 50, &[streamed()]).report(&redis(50.0, 50.0, 900));
    assert_eq!(named(&report).0, "redis");
    assert!(report["bottleneck"]["evidence"].to_string().contains("900 of 1000 calls (90 %)"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_is_cut_off_early_is_named_by_its_timeouts() {
    let report = Planted::new().run(120, "rate_limit", 2, &[streamed()]).report(&redis(2.0, 2.0, 400));
    assert_eq!(named(&report), ("redis", "redis", "minor"), "{report}");
    let report = Planted::new().run(120, "rate_limit", 2, &[streamed()]).report(&redis(0.5, 2.0, 10));
    assert_eq!(named(&report).0, "backend", "one in a hundred is chance: {report}");
}

#[tokio::test(start_paused = true)]
async fn a_saturated_embedder_is_named_by_its_wait_or_by_what_it_refuses() {
    let report = Planted::new().run(120, "semantic_cache", 120, &[streamed()]).report(&embedder(20, 90.0, 8.0, 0.0));
    assert_eq!(named(&report), ("embedder", "embedder", "moderate"), "{report}");
    for dependencies in [embedder(64, 1.0, 1.0, 0.0), embedder(3, 1.0, 1.0, 0.3)] {
        let report = Planted::new().run(120, "", 0, &[streamed()]).report(&dependencies);
        assert_eq!(named(&report), ("embedder", "embedder", "moderate"), "{report}");
    }
    let report = Planted::new().run(120, "", 0, &[streamed()]).report(&embedder(3, 2.0, 8.0, 0.01));
    assert_eq!(named(&report).0, "backend", "it does its work: {report}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_and_a_room_that_nothing_explains_are_named() {
    let disk = Dependencies { disk: Some(Disk { calls: summary(30.0, 100) }), ..redis(0.3, 50.0, 0) };
    let report = Planted::new().run(120, "semantic_cache", 35, &[streamed()]).report(&disk);
    assert_eq!(named(&report).0, "disk", "{report}");
    let report = Planted::new().run(120, "breaker", 300, &[streamed()]).report(&redis(0.3, 50.0, 0));
    assert_eq!(named(&report), ("room", "breaker", "severe"), "{report}");
    assert!(report["recommendations"][0].as_str().unwrap().contains("breaker.admission"), "{report}");
    let report = Planted::new().run(120, "dedup", 6, &[streamed()]).report(&redis(0.3, 50.0, 0));
    assert_eq!(named(&report).2, "none", "over the allowance, and too small a share to matter: {report}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_has_become_slower_is_named_with_its_ratio() {
    let slow = Streamed { first: time(450), gap: time(44), ..streamed() };
    let report = Planted::new().run(600, "", 0, &[streamed()]).run(90, "", 0, &[slow]).report(&redis(0.3, 50.0, 0));
    assert_eq!(named(&report), ("backend", "one", "severe"), "{report}");
    assert!(report["bottleneck"]["evidence"].to_string().contains("instead of the usual"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_slower_than_its_siblings_or_queues_is_named() {
    let slow = Streamed { backend: 1, first: time(500), ..streamed() };
    let report = Planted::new().run(120, "", 0, &[streamed(), slow]).report(&Dependencies::default());
    assert_eq!(named(&report), ("backend", "two", "severe"), "{report}");
    let engine = Engine { backend: "one".into(), waiting: Some(9.0), running: Some(4.0), kv_usage: Some(0.97) };
    let queueing = Dependencies { engines: vec![engine], ..Dependencies::default() };
    let report = Planted::new().run(120, "", 0, &[streamed()]).report(&queueing);
    assert_eq!(named(&report), ("backend", "one", "moderate"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn of_a_few_requests_nothing_is_said() {
    let report = Planted::new().run(2, "dedup", 500, &[streamed()]).report(&Dependencies::default());
    assert_eq!(report["bottleneck"], Value::Null, "{report}");
}

#[test]
#[ignore = "prints examples"]
fn examples() {
    use crate::latency::slow::Slow;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let planted = Planted::new().run(400, "", 0, &[streamed()]).run(90, "rate_limit", 45, &[streamed()]);
        let slow = Slow::new(&planted.config, &["one".into(), "two".into()]);
        slow.take(planted.now, &request(&rooms("rate_limit", time(45)), &streamed(), time(2)));
        println!("METRICS {:#}", planted.profile.metrics(planted.now));
        println!("REGRESSIONS {:#}", planted.regressions.report(planted.now));
        println!("REPORT {:#}", planted.report(&redis(40.0, 50.0, 30)));
        println!("SLOW {:#}", slow.report(planted.now));
        let config = crate::alerts::Config::default();
        let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let mut alerts = crate::alerts::Alerts::new(&config, planted.now, at);
        for change in alerts.tick(planted.now, at, |rule| (rule.metric.name() == "error_rate").then_some(0.25)) {
            println!("CHANGE {:#}", serde_json::to_value(change).unwrap());
        }
        println!("ALERTS {:#}", alerts.report());
    });
}
