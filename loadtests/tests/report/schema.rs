//! The JSON and its schema, which is committed so that others can read results without building anything.

use std::path::Path;

use outrigger_loadtests::load::report;
use outrigger_loadtests::load::result::Run;
use serde_json::Value;

use super::runs;

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&report::schema().unwrap()).unwrap()).unwrap()
}

fn value(run: &Run) -> Value {
    serde_json::from_str(&report::json(run).unwrap()).unwrap()
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("run.schema.json");
    let generated = report::schema().unwrap();
    if std::env::var_os("OUTRIGGER_UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == generated,
        "loadtests/run.schema.json is not that of the types: run \
         OUTRIGGER_UPDATE_SCHEMA=1 cargo test -p outrigger-loadtests --test report schema"
    );
}

#[test]
fn every_run_is_valid_and_comes_back_as_it_was() {
    let validator = validator();
    for run in [runs::healthy(), runs::failing(), runs::partial(), runs::unanswered(), runs::empty_run()] {
        let value = value(&run);
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", run.name);
        let read: Run = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(self::value(&read), value, "{}", run.name);
    }
}

#[test]
fn the_schema_refuses_what_is_no_run() {
    let validator = validator();
    let broken: [fn(&mut Value); 4] = [
        |run| run["counts"]["sent"] = "many".into(),
        |run| run["sorted"] = true.into(),
        |run| drop(run.as_object_mut().unwrap().remove("rates")),
        |run| run["slices"][0]["at_seconds"] = Value::Null,
    ];
    for (place, broken) in broken.iter().enumerate() {
        let mut value = value(&runs::single_slice());
        assert!(validator.is_valid(&value), "whole it is valid");
        broken(&mut value);
        assert!(!validator.is_valid(&value), "{place} is told");
    }
}
