use super::*;
use crate::load::result::Mark;
use crate::load::synthetic::Builder;

fn run(slices: &[&[f64]]) -> Run {
    slices.iter().fold(Builder::new("merged"), |builder, slice| builder.slice(1.0, slice)).build().unwrap()
}

#[test]
fn a_sum_is_what_one_run_would_have_found() {
    let (one, other) = (run(&[&[5.0, 6.0], &[7.0]]), run(&[&[100.0, 200.0, 5.0]]));
    let merged = merge(&[one, other]).unwrap();
    let whole = run(&[&[5.0, 6.0], &[7.0], &[100.0, 200.0, 5.0]]);
    assert_eq!(serde_json::to_value(&merged).unwrap(), serde_json::to_value(&whole).unwrap());
}

#[test]
fn what_went_wrong_in_any_went_wrong_in_all() {
    let (mut one, mut other) = (run(&[&[5.0]]), run(&[&[6.0], &[7.0]]));
    one.errors = [("timeout".to_owned(), 2), ("reset".to_owned(), 1)].into();
    other.errors = [("timeout".to_owned(), 3)].into();
    other.invalid = vec!["late".to_owned()];
    other.cut_short = Some("the target ended".to_owned());
    other.marks = vec![Mark { at_seconds: 0.5, what: "a stall".to_owned() }];
    let merged = merge(&[one, other]).unwrap();
    assert_eq!(merged.errors, [("timeout".to_owned(), 5), ("reset".to_owned(), 1)].into());
    assert_eq!((merged.invalid, merged.cut_short), (vec!["late".to_owned()], Some("the target ended".to_owned())));
    assert_eq!(merged.marks[0].at_seconds, 1.5, "on the clock of the sum");
}

#[test]
fn runs_of_two_scenarios_or_machines_are_no_sum() {
    assert!(merge(&[]).is_err(), "nothing");
    let mut other = run(&[&[6.0]]);
    other.machine.class = "another".to_owned();
    let error = merge(&[run(&[&[5.0]]), other]).unwrap_err().to_string();
    assert!(error.starts_with("machine: "), "{error}");
    let other = Builder::new("other").slice(1.0, &[5.0]).build().unwrap();
    let error = merge(&[run(&[&[5.0]]), other]).unwrap_err().to_string();
    assert!(error.starts_with("scenario: "), "{error}");
}
