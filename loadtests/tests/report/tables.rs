//! The CSV files, read back as a spreadsheet would.

use std::collections::BTreeMap;

use outrigger_loadtests::load::report;
use outrigger_loadtests::load::result::Metric;

use super::runs;

type Row = BTreeMap<String, String>;

fn rows(text: &str) -> Vec<Row> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_timeline_has_a_row_a_slice() {
    let run = runs::failing();
    let rows = rows(&report::csv(&run).unwrap());
    assert_eq!(rows.len(), run.slices.len());
    let (row, slice) = (&rows[22], &run.slices[22]);
    assert_eq!(row["at_seconds"], "22");
    assert_eq!(row["failed"], slice.failed.to_string());
    assert_eq!(row["end_to_end_p99_ms"], slice.end_to_end.as_ref().unwrap().p99.to_string());
    assert_eq!(row["marks"], "fault begins: simulator stalls");
    assert_eq!(rows[21]["marks"], "", "a mark stands in its own slice only");
}

#[test]
fn what_was_not_measured_is_an_empty_field() {
    let rows = rows(&report::csv(&runs::unanswered()).unwrap());
    for field in ["end_to_end_count", "end_to_end_p50_ms", "ttft_p99_ms", "resident_mib", "open_files", "cpu_share"] {
        assert_eq!(rows[0][field], "", "{field}");
    }
}

#[test]
fn the_summary_has_every_figure_in_long_form() {
    let mut run = runs::failing();
    run.errors.insert("odd, \"kind\"".to_owned(), 4);
    let rows = rows(&report::csv_summary(&run).unwrap());
    let find = |metric: &str, statistic: &str| {
        let row = rows.iter().find(|row| row["metric"] == metric && row["statistic"] == statistic);
        row.map(|row| row["value"].clone())
    };
    assert_eq!(find("ttft", "p99"), Some(run.latencies[&Metric::Ttft].p99.to_string()));
    assert_eq!(find("counts", "sent"), Some(run.counts.sent.to_string()));
    assert_eq!(find("integrity", "lost"), Some("2".to_owned()));
    assert_eq!(find("errors", "odd, \"kind\""), Some("4".to_owned()), "names are quoted as they need");
    assert_eq!(find("tpot", "p50"), None, "what was not measured has no row");
}
