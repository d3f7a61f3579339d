//! The text for the terminal, and the verdict that heads it.

use outrigger_loadtests::load::report::{self, Outcome, Verdict};
use outrigger_loadtests::load::result::Run;

use super::runs;

#[test]
fn the_verdict_stands_first_and_says_why() {
    let first = |run: &Run| report::text(run).lines().next().unwrap().to_owned();
    let healthy = first(&runs::healthy());
    assert!(healthy.starts_with("PASSED: 2 of 2 service levels are met; "), "{healthy}");
    let failing = report::text(&runs::failing()).replace("\n ", "");
    assert!(failing.starts_with("FAILED: 3 of 11,785 streams are not whole (lost 2, crossed 1); "), "{failing}");
    assert!(failing.contains("recovery_secs <= 3 was missed: nothing could be measured"), "{failing}");
    assert_eq!(first(&runs::partial()), "PARTIAL: the target refused every connection for 3 s");
    assert_eq!(first(&runs::unanswered()), "FAILED: nothing was answered");
}

#[test]
fn the_word_is_of_what_makes_the_rest_doubtful() {
    let mut run = runs::failing();
    let outcome = |run: &Run| Verdict::of(run).outcome;
    assert_eq!(outcome(&run), Outcome::Failed);
    run.invalid.push("the schedule lag's p99 was 22 ms".to_owned());
    assert_eq!(outcome(&run), Outcome::Invalid, "a level missed by figures that are not to be believed");
    run.cut_short = Some("interrupted".to_owned());
    assert_eq!(outcome(&run), Outcome::Partial);
    assert_eq!(Verdict::of(&run).reasons.len(), 6, "and every reason is told");
}

#[test]
fn a_run_that_passed_is_one_whose_verdict_is_so() {
    let mut invalid = runs::healthy();
    invalid.invalid.push("late".to_owned());
    let all = [
        runs::healthy(),
        runs::failing(),
        runs::partial(),
        runs::without_streams(),
        runs::single_slice(),
        runs::unanswered(),
        runs::empty_run(),
        invalid,
    ];
    for run in all {
        assert_eq!(run.passed(), Verdict::of(&run).outcome == Outcome::Passed, "{}: {}", run.name, Verdict::of(&run));
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_columns_stand_below_one_another() {
    let mut long = runs::failing();
    long.target = format!("https://{}.example/v1", "models".repeat(20));
    long.errors.extend((400..440).map(|status| (format!("status_{status}"), 1)));
    for run in [runs::healthy(), long, runs::unanswered(), runs::empty_run()] {
        let text = report::text(&run);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
            assert!(!line.contains("NaN"), "{line}");
        }
    }
    let text = report::text(&runs::healthy());
    let table = text.lines().skip_while(|line| !line.starts_with("milliseconds")).take(5);
    let ends: Vec<usize> = table.map(|line| line.chars().count()).collect();
    assert!(ends.len() == 5 && ends.iter().all(|end| *end == ends[0]), "{ends:?} in\n{text}");
}

#[test]
fn levels_are_told_with_what_was_measured() {
    let text = report::text(&runs::failing());
    let line = |level: &str| text.lines().rev().find(|line| line.contains(level)).unwrap().to_owned();
    assert!(line("p99_end_to_end_ms").ends_with("5,352") && line("p99_end_to_end_ms").contains("MISSED"), "{text}");
    assert!(line("p50_ttft_ms").contains("  met  "), "{text}");
    assert!(line("recovery_secs").ends_with('–'), "what could not be measured has no value: {text}");
}
