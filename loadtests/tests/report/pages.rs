//! The HTML file. What the pages look like is judged with the eye: this test leaves them in the target's `tmp` folder.

use std::path::Path;

use outrigger_loadtests::load::report;
use outrigger_loadtests::load::result::{Mark, Run};

use super::runs;

/// What each page is called, and which runs it shows.
fn pages() -> Vec<(&'static str, Vec<Run>)> {
    vec![
        ("healthy", vec![runs::healthy()]),
        ("failing", vec![runs::failing()]),
        ("partial", vec![runs::partial()]),
        ("without-streams", vec![runs::without_streams()]),
        ("single-slice", vec![runs::single_slice()]),
        ("unanswered", vec![runs::unanswered()]),
        ("empty", vec![runs::empty_run()]),
        ("pair", runs::pair()),
        ("unlike", vec![runs::failing(), runs::without_streams(), runs::empty_run()]),
    ]
}

#[test]
fn every_page_stands_alone_and_has_no_broken_number() {
    for (name, runs) in pages() {
        let page = report::html_many(&runs).unwrap();
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}.html"));
        std::fs::write(file, &page).unwrap();
        for broken in ["NaN", ">inf", "Infinity", "src=", "@import", "url(", "<link"] {
            assert!(!page.contains(broken), "{name} has {broken}");
        }
        for figure in page.split("<figure").skip(1) {
            let figure = &figure[..figure.find("</figure>").unwrap()];
            let (wide, narrow) =
                (figure.matches("<svg class=\"wide\"").count(), figure.matches("<svg class=\"narrow\"").count());
            let why = figure.matches("<p class=\"empty\">").count();
            assert!(
                (wide, narrow, why) == (1, 1, 0) || (wide, narrow, why) == (0, 0, 1),
                "{name}: drawn or told: {figure}"
            );
        }
        assert_eq!(page.matches("<figure").count(), 10, "{name}: no chart is left out");
    }
}

#[test]
fn what_comes_from_the_data_is_escaped() {
    let hostile = "</style><script>alert('x')</script>\"&";
    let mut run = runs::failing();
    run.name = hostile.to_owned();
    run.label = Some(hostile.to_owned());
    run.target = hostile.to_owned();
    run.started_at = hostile.to_owned();
    run.errors.insert(hostile.to_owned(), 3);
    run.invalid.push(hostile.to_owned());
    run.marks.push(Mark { at_seconds: 40.0, what: hostile.to_owned() });
    run.levels[0].level = hostile.to_owned();
    run.scenario = serde_json::json!({ hostile: hostile });
    for runs in [vec![run.clone()], vec![run.clone(), run]] {
        let page = report::html_many(&runs).unwrap();
        assert!(!page.contains("<script>alert"), "no script of the data's");
        assert_eq!((page.matches("<script>").count(), page.matches("</style>").count()), (1, 1), "the page's own only");
        assert!(page.contains("&lt;script&gt;alert"), "it is shown as it reads");
    }
}

#[test]
fn a_fault_is_shaded_from_its_beginning_to_its_end() {
    let page = report::html(&runs::failing()).unwrap();
    // Nine charts over time in two sizes; 9 of 60 seconds.
    assert_eq!(page.matches("<rect class=\"shade\"").count(), 18);
    let mut cut_short = runs::failing();
    cut_short.marks.retain(|mark| !mark.what.starts_with("fault ends"));
    let cut_short = report::html(&cut_short).unwrap();
    assert_eq!(cut_short.matches("<rect class=\"shade\"").count(), 18, "one that has no end lasts");
    assert!(!report::html(&runs::healthy()).unwrap().contains("class=\"shade\""), "without a fault nothing is");
}

#[test]
fn a_long_run_makes_a_page_that_a_browser_opens_at_once() {
    let hours = runs::Shape { seconds: 4 * 3600, per_second: 1, ..runs::Shape::default() };
    let page = report::html(&runs::run("endurance", &hours)).unwrap();
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

#[test]
fn a_page_of_no_run_is_refused_and_a_broken_histogram_is_told() {
    assert!(report::html_many(&[]).unwrap_err().to_string().contains("name at least one result file"));
    let mut run = runs::healthy();
    run.latencies.values_mut().for_each(|of| of.histogram = "!".to_owned());
    assert!(report::html(&run).is_err(), "a page without its curve would lie by leaving it out");
}

#[test]
fn runs_of_one_target_have_names_of_their_own() {
    let page = report::html_many(&[runs::healthy(), runs::failing()]).unwrap();
    assert!(page.contains("<h2>1 chat</h2>") && page.contains("<h2>2 recovery</h2>"), "by their scenarios");
    let page = report::html_many(&runs::pair()).unwrap();
    assert!(page.contains("<h2>direct</h2>") && page.contains("<h2>through outrigger</h2>"), "by their labels");
}
