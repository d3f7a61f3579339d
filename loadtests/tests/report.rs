//! Reports of made runs: what a person, a spreadsheet, a program and a browser are told.

#[path = "report/runs.rs"]
mod runs;

use std::path::{Path, PathBuf};

use outrigger_loadtests::load::report;
use outrigger_loadtests::load::report::{Outcome, Verdict};
use outrigger_loadtests::load::result::{Mark, Run};

fn all() -> Vec<Run> {
    vec![
        runs::healthy(),
        runs::failing(),
        runs::partial(),
        runs::without_streams(),
        runs::single_slice(),
        runs::unanswered(),
        runs::empty_run(),
    ]
}

/// Where the pages of this test can be looked at afterwards.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn every_page_stands_alone_and_has_no_broken_number() {
    let pairs = [runs::pair(), vec![runs::failing(), runs::without_streams(), runs::empty_run()]];
    let single = all().into_iter().map(|run| (run.name.clone(), report::html(&run)));
    let several = pairs.iter().enumerate().map(|(place, runs)| (format!("several-{place}"), report::html_many(runs)));
    for (name, page) in single.chain(several) {
        let page = page.unwrap();
        std::fs::write(file(&format!("report-{name}.html")), &page).unwrap();
        for broken in ["NaN", "inf ", "null px", "src=", "@import", "url(", "<link"] {
            assert!(!page.contains(broken), "{name} has {broken}");
        }
        let charts = page.matches("<figure").count();
        let drawn = page.matches("<svg class=\"wide\"").count() + page.matches("<p class=\"empty\">").count();
        assert!(charts == 10 && drawn >= charts, "{name}: each of {charts} charts is drawn or says why not");
    }
}
