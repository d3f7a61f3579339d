//! Scenarios are read or refused with a reason, and what they plan is what they say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Load, Overrides, Scenario, ScenarioError};
use crate::load::arrival::Profile;
use crate::load::plan::{Plan, Planned};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// With this `[load]`.
fn text(load: &str) -> String {
    format!("name = \"test\"\n[target]\nurl = \"http://127.0.0.1:1\"\n[load]\n{load}\n[[requests]]\nweight = 1\n")
}

fn parse(load: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(&text(load), Path::new("test.toml"))
}

fn refused(text: &str) -> String {
    Scenario::parse(text, Path::new("test.toml")).expect_err(text).to_string()
}

fn open(scenario: &Scenario) -> Vec<Planned> {
    match scenario.plan().unwrap() {
        Plan::Open(plan) => plan.collect(),
        Plan::Closed(_) => panic!("a closed loop"),
    }
}

#[test]
fn every_scenario_is_read_and_planned() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|name| name.to_str()), "named as its file");
        match scenario.plan().unwrap_or_else(|error| panic!("{error:#}")) {
            Plan::Closed(stages) => assert!(stages.iter().all(|stage| stage.count > 0), "{stages:?}"),
            Plan::Open(plan) => {
                let planned: Vec<Planned> = plan.take(100_000).collect();
                assert!(planned.len() > 20, "{}: {} requests", scenario.name, planned.len());
                assert!(planned.is_sorted_by_key(|planned| planned.at), "{}: in order", scenario.name);
                assert!(planned.iter().all(|planned| planned.kind < scenario.requests.len()), "{}", scenario.name);
            }
        }
        let edges = scenario.fault_edges().unwrap();
        assert!(edges.is_sorted_by_key(|edge| edge.at), "{}: {edges:?}", scenario.name);
        names.push(scenario.name);
    }
    assert_eq!(names.len(), 15, "{names:?}");
}

#[test]
fn what_is_written_into_a_result_reads_as_the_same_scenario() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let scenario = Scenario::read(&entry.unwrap().path()).unwrap();
        let value = serde_json::to_value(&scenario).unwrap();
        let again: Scenario = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
        assert_eq!(again.load, scenario.load, "{}", scenario.name);
        assert_eq!(serde_json::to_value(&again).unwrap(), value, "{}", scenario.name);
    }
}

/// What the document shows is read as it stands, so that it cannot go out of date.
#[test]
fn the_reference_shows_what_can_be_read() {
    let document = std::fs::read_to_string(folder().parent().unwrap().join("SCENARIOS.md")).unwrap();
    let blocks: Vec<&str> = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 10, "{} blocks", blocks.len());
    for block in blocks {
        let whole = if block.contains("name =") {
            block.to_owned()
        } else if block.trim_start().starts_with("[load]") {
            text(block.trim_start().trim_start_matches("[load]"))
        } else {
            // Keys of the file itself come before its tables.
            let (keys, tables) = block.find("\n[").map_or((block, ""), |place| block.split_at(place));
            let (keys, tables) = if block.starts_with('[') { ("", block) } else { (keys, tables) };
            format!("{keys}\n{}{tables}", text("model = \"constant\"\nrate = 1\nduration_secs = 100"))
        };
        Scenario::parse(&whole, Path::new("SCENARIOS.md")).unwrap_or_else(|error| panic!("{error}\n{whole}"));
    }
    for key in ["warmup_secs", "slice_secs", "api_key_env", "ca_file", "expect_status", "max_output_tokens"] {
        assert!(document.contains(&format!("`{key}`")), "{key} is explained");
    }
}

#[test]
fn an_error_says_file_line_and_key() {
    let steady = text("model = \"poisson\"\nrate = 10\nduration_secs = 5");
    for (right, wrong, expected) in [
        ("rate = 10", "rate = 0", "test.toml:6: load.rate: 0 is not a number above 0"),
        ("rate = 10", "rate = \"x\"", "test.toml:6: load.rate: invalid type: string"),
        ("rate = 10", "raet = 10", "test.toml:6: load.raet: unknown field `raet`, expected one of"),
        (
            "rate = 10\n",
            "",
            "test.toml:4: load: `rate` is missing, which the model `poisson` with the profile `steady`",
        ),
        ("rate = 10", "rate = 10\nfactor = 2", "test.toml:4: load: `factor` has no meaning for the model `poisson`"),
        ("\"poisson\"", "\"poison\"", "test.toml:5: load.model: unknown variant `poison`, expected one of `closed`"),
        ("weight = 1", "weight = -1", "test.toml:9: requests.0.weight: -1 is not a number from 0"),
        ("weight = 1", "weight = 0", "test.toml:8: requests: there must be at least one request"),
        ("weight = 1", "sim = { gap = 1 }", "test.toml:9: requests.0.sim: unknown field `gap`"),
        ("weight = 1", "input_tokens = 1\nbody_bytes = 1", "test.toml:10: requests.0.body_bytes: stands beside"),
        ("http://127", "127", "test.toml:3: target.url: `127.0.0.1:1` begins neither"),
        ("[target]", "levels = [\"p95_ttft <= 5\"]\n[target]", "test.toml:2: levels.0: \"p95_ttft\" is no measure"),
        ("[target]", "script = [\"at 9s: simulator stalls\"]\n[target]", "test.toml:2: script.0: comes at 9s"),
        ("[target]", "[target", "test.toml:2: "),
    ] {
        let error = refused(&steady.replacen(right, wrong, 1));
        assert!(error.starts_with(expected), "{error}\n for {expected}");
    }
    let missing = Scenario::read(Path::new("nowhere.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("nowhere.toml: cannot be read: "), "{missing}");
}

#[test]
fn a_load_that_cannot_be_is_refused() {
    for (load, expected) in [
        ("model = \"gamma\"\nrate = 1\nduration_secs = 1", "`burstiness` is missing"),
        ("model = \"gamma\"\nburstiness = 0\nrate = 1\nduration_secs = 1", "`burstiness`: 0 is not between"),
        ("model = \"closed\"\nrate = 1\nduration_secs = 1", "`users` is missing"),
        ("model = \"closed\"\nprofile = \"ramp\"\nfrom = 1\nto = 1e6\nduration_secs = 1", "users are too many"),
        ("model = \"trace\"\nfile = \"x\"\nprofile = \"ramp\"", "`profile` has no meaning for a trace"),
        ("model = \"trace\"\nfile = \"x\"\nrate = 3", "`rate` has no meaning for the model `trace`"),
        ("model = \"poisson\"\nprofile = \"ramp\"\nfrom = 0\nto = 0\nduration_secs = 1", "nothing would be sent"),
        (
            "model = \"poisson\"\nprofile = \"ramp\"\ncurve = \"exponential\"\nfrom = 0\nto = 1\nduration_secs = 1",
            "never gets to or from 0",
        ),
        (
            "model = \"poisson\"\nprofile = \"spike\"\nbase = 1\nat_secs = 1\nfor_secs = 2\nduration_secs = 2",
            "the spike ends after the load",
        ),
        ("model = \"poisson\"\nprofile = \"stress\"\nstart = 1\nstep_secs = 1\nmost = 9", "`step` or by `factor`"),
        ("model = \"poisson\"\nprofile = \"stress\"\nstart = 1\nfactor = 1\nstep_secs = 1\nmost = 9", "above 1"),
        ("model = \"poisson\"\nprofile = \"stress\"\nstart = 10\nstep = 1\nstep_secs = 1\nmost = 9", "below `start`"),
        ("model = \"poisson\"\nprofile = \"stress\"\nstart = 1\nstep = 1e-6\nstep_secs = 1\nmost = 9", "larger"),
    ] {
        let error = parse(load).expect_err(load).to_string();
        assert!(error.contains(expected), "{error}\n for {expected}");
    }
}

#[test]
fn a_closed_loop_is_not_held_to_a_schedule() {
    let text = text("model = \"closed\"\nusers = 1\nduration_secs = 1");
    let held = text.replacen("[target]", "levels = [\"error_rate <= 0\", \"p99_schedule_lag_ms <= 10\"]\n[target]", 1);
    assert!(Scenario::parse(&text, Path::new("test.toml")).is_ok());
    assert!(refused(&held).contains("test.toml:2: levels.1: a closed loop has no schedule"), "{}", refused(&held));
}

#[test]
fn the_warm_up_goes_before_the_profile() {
    let load = "model = \"constant\"\nprofile = \"spike\"\nbase = 10\nat_secs = 2\nfor_secs = 1\nduration_secs = 5";
    let scenario = Scenario { warmup_secs: 3.0, ..parse(load).unwrap() };
    assert_eq!(scenario.duration(), Some(Duration::from_secs(8)));
    let rate = |seconds| scenario.planned_rate_at(Duration::from_secs_f64(seconds)).unwrap();
    assert_eq!([rate(1.0), rate(4.9), rate(5.5), rate(6.5), rate(9.0)], [10.0, 10.0, 40.0, 10.0, 0.0]);
    let stages: Vec<(u64, String)> =
        scenario.stages().into_iter().map(|stage| (stage.at.as_secs(), stage.what)).collect();
    let (base, spike) = ("10 requests a second".to_owned(), "40 requests a second".to_owned());
    assert_eq!(stages, [(3, base.clone()), (5, spike), (6, base)]);
    let within = |from, until| open(&scenario).iter().filter(|one| (from..until).contains(&one.at.as_secs())).count();
    assert_eq!([within(0, 5), within(5, 6), within(6, 8)], [50, 40, 20], "four times as many in the spike");
}

#[test]
fn a_stress_rises_to_the_most() {
    let stress = "model = \"poisson\"\nprofile = \"stress\"\nstart = 100\nfactor = 2\nstep_secs = 3\nmost = 800";
    let scenario = parse(stress).unwrap();
    let levels: Vec<f64> = scenario.stages().iter().map(|stage| stage.from).collect();
    assert_eq!(levels, [100.0, 200.0, 400.0, 800.0]);
    assert!(scenario.stops_at_a_missed_level());
    let even = parse(&stress.replace("factor = 2", "step = 0.1").replace("most = 800", "most = 100.3")).unwrap();
    assert_eq!(even.stages().len(), 4, "the most counts, however its sum is rounded");
}

#[test]
fn the_same_scenario_sends_the_same() {
    let scenario = Scenario::read(&folder().join("poisson.toml")).unwrap();
    let planned = open(&scenario);
    assert_eq!(planned, open(&scenario));
    let other = Scenario { seed: 2, ..scenario.clone() };
    assert_ne!(planned, open(&other), "another seed, other requests");
    let mut lighter = scenario.clone();
    lighter.requests[0].weight = 1.0;
    let times = |planned: Vec<Planned>| planned.into_iter().map(|planned| planned.at).collect::<Vec<_>>();
    assert_eq!(times(open(&lighter)), times(planned), "another mix leaves the times alone");
}

#[test]
fn users_come_in_stages() {
    let load = "model = \"closed\"\nthink_secs = 0.5\nprofile = \"peak\"\nbase = 1\npeak = 3\nup_secs = 2\nhold_secs = 3\n\
                down_secs = 2";
    let Plan::Closed(stages) = parse(load).unwrap().plan().unwrap() else { panic!("a closed loop") };
    let counts: Vec<(usize, f64)> = stages.iter().map(|stage| (stage.count, stage.duration.as_secs_f64())).collect();
    assert_eq!(counts, [(1, 0.5), (2, 1.0), (3, 4.0), (2, 1.0), (1, 0.5)]);
    assert!(stages.iter().all(|stage| stage.think == Duration::from_millis(500)));
}

#[test]
fn an_endurance_run_is_looked_at_in_minutes() {
    let load = "model = \"poisson\"\nprofile = \"endurance\"\nrate = 1\nduration_secs = 7200";
    let scenario = parse(load).unwrap();
    assert_eq!(scenario.slice(), Duration::from_secs(60));
    assert_eq!(parse(&load.replace("endurance", "steady")).unwrap().slice(), Duration::from_secs(1));
}

fn overridden(load: &str, overrides: &Overrides) -> anyhow::Result<Scenario> {
    let mut scenario = parse(load).unwrap();
    overrides.apply(&mut scenario).map(|()| scenario)
}

#[test]
fn the_command_line_goes_before_the_file() {
    let number = |value: f64| Some(value.try_into().unwrap());
    let spike = "model = \"poisson\"\nprofile = \"spike\"\nbase = 10\nat_secs = 2\nfor_secs = 1\nduration_secs = 5";
    let overrides = Overrides {
        rate: number(50.0),
        seconds: number(10.0),
        target: Some("https://example.com".to_owned()),
        pid: Some(42),
        seed: Some(9),
        ..Overrides::default()
    };
    let scenario = overridden(spike, &overrides).unwrap();
    assert_eq!(
        (scenario.target.url.as_str(), scenario.target.pid, scenario.seed),
        ("https://example.com", Some(42), 9)
    );
    let Some(Profile::Spike(profile)) = scenario.load.profile() else { panic!("a spike") };
    assert_eq!((profile.base.get(), profile.times.get()), (50.0, 4.0), "the spike keeps its ratio");
    assert_eq!((profile.at.get(), profile.length.get(), profile.seconds.get()), (4.0, 2.0, 10.0), "stretched alike");

    let trace = Overrides { speed: number(5.0), seconds: number(3.0), ..Overrides::default() };
    let Load::Trace(replay) = overridden("model = \"trace\"\nfile = \"x\"", &trace).unwrap().load else {
        panic!("a trace")
    };
    assert_eq!((replay.speed.get(), replay.duration_secs), (5.0, number(3.0)));
}

#[test]
fn a_flag_without_a_meaning_is_refused() {
    let rate = Overrides { rate: Some(5.0.try_into().unwrap()), ..Overrides::default() };
    let users = Overrides { users: std::num::NonZeroU32::new(5), ..Overrides::default() };
    let speed = Overrides { speed: Some(5.0.try_into().unwrap()), ..Overrides::default() };
    let target = Overrides { target: Some("nowhere".to_owned()), ..Overrides::default() };
    let (closed, poisson) =
        ("model = \"closed\"\nusers = 1\nduration_secs = 1", "model = \"poisson\"\nrate = 1\nduration_secs = 1");
    let trace = "model = \"trace\"\nfile = \"x\"";
    for (load, overrides) in
        [(closed, &rate), (poisson, &users), (poisson, &speed), (trace, &rate), (trace, &users), (poisson, &target)]
    {
        assert!(overridden(load, overrides).is_err(), "{load}: {overrides:?}");
    }
    assert!(
        overridden(closed, &users).is_ok() && overridden(poisson, &rate).is_ok() && overridden(trace, &speed).is_ok()
    );
}
