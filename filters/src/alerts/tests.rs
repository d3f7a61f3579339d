use proptest::prelude::*;

use super::*;

struct Told {
    alerts: Alerts,
    begun: Instant,
    secs: u64,
}

impl Told {
    fn new(rule: Rule) -> Self {
        let begun = Instant::now();
        Told { alerts: Alerts::new(&Config { rules: vec![rule], ..Config::default() }, begun, date(0)), begun, secs: 0 }
    }

    /// Five seconds later, with this reading.
    fn then(&mut self, value: impl Into<Option<f64>>) -> Option<(Level, Level)> {
        self.secs += 5;
        let value = value.into();
        let now = self.begun + Duration::from_secs(self.secs);
        let changes = self.alerts.tick(now, date(self.secs), |_| value);
        changes.first().map(|change| (change.was, change.level))
    }

    fn level(&self) -> String {
        self.alerts.report()["rules"][0]["level"].as_str().unwrap().to_owned()
    }
}

fn date(secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + secs)
}

fn errors() -> Rule {
    Rule::new(Metric::ErrorRate, Some(0.1), Some(0.5))
}

const OK: Level = Level::Ok;
const WARNING: Level = Level::Warning;
const CRITICAL: Level = Level::Critical;

#[tokio::test(start_paused = true)]
async fn each_step_is_told_once_and_a_trembling_reading_is_not_told_again() {
    let mut told = Told::new(errors());
    assert_eq!(told.level(), "unknown");
    assert_eq!(told.then(0.0), None, "all is well from the start, which is no news");
    assert_eq!(told.then(0.1), Some((OK, WARNING)));
    for value in [0.095, 0.11, 0.0901, 0.1] {
        assert_eq!(told.then(value), None, "{value}");
    }
    assert_eq!(told.then(0.6), Some((WARNING, CRITICAL)));
    assert_eq!(told.then(0.46), None, "above nine tenths");
    assert_eq!(told.then(0.2), Some((CRITICAL, WARNING)));
    assert_eq!(told.then(0.6), Some((WARNING, CRITICAL)));
    assert_eq!(told.then(0.0), Some((CRITICAL, OK)));
    assert_eq!(told.then(0.7), Some((OK, CRITICAL)), "no step need be taken alone");
}

#[tokio::test(start_paused = true)]
async fn while_it_lasts_it_is_told_again_after_the_cooldown() {
    let mut told = Told::new(Rule { cooldown_secs: 60, ..errors() });
    let times: Vec<u64> = (1..=40).filter(|_| told.then(0.2).is_some()).collect();
    assert_eq!(times, [1, 13, 25, 37]);
    assert_eq!(told.then(0.0), Some((WARNING, OK)));
    assert!((0..40).all(|_| told.then(0.0).is_none()), "that all is well is told once");
}

#[tokio::test(start_paused = true)]
async fn what_must_last_is_told_when_it_has_lasted() {
    let mut told = Told::new(Rule { for_secs: 20, ..errors() });
    told.then(0.0);
    let steps: Vec<_> = [0.2, 0.2, 0.0, 0.2, 0.9, 0.2, 0.2].into_iter().map(|value| told.then(value)).collect();
    assert_eq!(steps, [None; 7], "it was well in between");
    assert_eq!(told.then(0.9), Some((OK, WARNING)), "it was a warning throughout, and critical for a moment");
    let steps: Vec<_> = [0.095; 4].into_iter().map(|value| told.then(value)).collect();
    assert_eq!(steps, [None; 4]);
    assert_eq!(told.then(0.095), Some((WARNING, OK)), "below the threshold for as long");
}

#[tokio::test(start_paused = true)]
async fn a_missing_reading_keeps_the_state_for_two_windows_and_is_then_unknown() {
    let mut told = Told::new(Rule { window: crate::windows::Window::One, ..errors() });
    assert_eq!(told.then(0.2), Some((OK, WARNING)));
    let misses = (0..23).filter(|_| told.then(None).is_some()).count();
    assert_eq!((misses, told.level()), (0, "warning".into()), "115 s");
    assert_eq!(
        told.then(f64::NAN),
        Some((WARNING, OK)),
        "no number, no reading; who was alarmed is told that it is over"
    );
    assert_eq!((told.level(), told.alerts.report()["active"].clone()), ("unknown".into(), 0.into()));
    assert_eq!(told.then(0.2), Some((OK, WARNING)), "it is news again");
}

#[tokio::test(start_paused = true)]
async fn where_less_is_worse_all_is_the_other_way_round() {
    let mut told = Told::new(Rule::new(Metric::CacheHitRate, Some(0.3), Some(0.1)));
    assert_eq!(told.then(0.5), None);
    assert_eq!(told.then(0.3), Some((OK, WARNING)));
    assert_eq!(told.then(0.05), Some((WARNING, CRITICAL)));
    assert_eq!(told.then(0.32), Some((CRITICAL, WARNING)), "a tenth more is not enough to be well");
    assert_eq!(told.then(0.34), Some((WARNING, OK)));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_written_with_its_threshold_and_dates() {
    let mut alerts = Alerts::new(&Config { rules: vec![errors()], ..Config::default() }, Instant::now(), date(0));
    let changes = alerts.tick(Instant::now(), date(5), |_| Some(0.25));
    assert_eq!(
        serde_json::to_value(&changes[0]).unwrap(),
        json!({
            "rule": "error_rate", "metric": "error_rate", "backend": null, "model": null, "level": "warning",
            "was": "ok", "value": 0.25, "threshold": 0.1, "at": "2026-09-21T14:13:25Z", "since": "2026-09-21T14:13:25Z",
        })
    );
}

#[test]
fn the_defaults_are_sound_and_hold_where_there_are_no_rules() {
    let rules = Config::default().effective();
    assert!(rules.len() >= 6);
    assert_eq!(Config { rules, ..Config::default() }.contradiction(), None);
}

#[test]
fn what_cannot_be_meant_is_told_by_its_key() {
    for (rule, key) in [
        ("metric = 'error_rate'", "warning"),
        ("metric = 'error_rate'\nwarning = 0.2\ncritical = 0.1", "critical"),
        ("metric = 'cache_hit_rate'\nwarning = 0.1\ncritical = 0.2", "critical"),
        ("metric = 'error_rate'\nwarning = 5", "warning"),
        ("metric = 'queue'\ncritical = nan", "critical"),
        ("metric = 'queue'\nwarning = 5\nfor_secs = 100000", "for_secs"),
        ("metric = 'memory_share'\nwarning = 0.5\nbackend = 'one'", "backend"),
        ("metric = 'redis_down'\nwarning = 1\nmodel = 'm'", "model"),
    ] {
        let config: Config = toml::from_str(&format!("[[rules]]\n{rule}")).unwrap();
        let found = config.contradiction().map(|(key, _)| key);
        assert_eq!(found, Some(format!("rules.0.{key}")), "{rule}");
    }
    let twice = "[[rules]]\nmetric = 'queue'\nwarning = 5\n".repeat(2);
    let found = toml::from_str::<Config>(&twice).unwrap().contradiction();
    assert_eq!(found.map(|(key, _)| key).as_deref(), Some("rules.1.name"));
    assert!(
        toml::from_str::<Config>(&"[[rules]]\nmetric='queue'\nwarning=1\n".repeat(65))
            .unwrap()
            .contradiction()
            .is_some()
    );
}

#[test]
fn a_mistyped_metric_is_answered_with_the_one_that_was_meant() {
    let wrong = toml::from_str::<Config>("[[rules]]\nmetric = 'eror_rate'\nwarning = 0.1").unwrap_err().to_string();
    assert!(wrong.contains("did you mean `error_rate`?") && wrong.contains("redis_down"), "{wrong}");
    let wrong = toml::from_str::<Config>("[[rules]]\nmetric = 'xyz'\nwarning = 0.1").unwrap_err().to_string();
    assert!(!wrong.contains("did you mean"), "{wrong}");
    for metric in Metric::ALL {
        assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
    }
}

proptest! {
    #[test]
    fn whatever_is_read_each_change_begins_where_the_last_one_ended(
        values in prop::collection::vec(prop::option::of(0.0..1.0_f64), 1..200), for_secs in 0_u64..30
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut told = Told::new(Rule { for_secs, cooldown_secs: 1_000_000, ..errors() });
            let mut level = Level::Ok;
            for value in values {
                if let Some((was, now)) = told.then(value) {
                    assert_eq!(was, level);
                    assert_ne!(was, now);
                    level = now;
                }
                if let Some(value) = value.filter(|_| for_secs == 0) {
                    assert!(level >= errors().level(value), "{value} is worse than {level:?}");
                }
            }
        });
    }
}
