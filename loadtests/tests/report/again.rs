//! Results rendered again from their files, among them one that an earlier build wrote.

use std::path::{Path, PathBuf};

use clap::Parser;
use outrigger_loadtests::load::report;
use outrigger_loadtests::load::report::command::{Report, read};

use super::runs;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    report: Report,
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let place = |argument: &&str| match argument.starts_with("--") {
        true => argument.into(),
        false => folder.join(argument).into_os_string(),
    };
    let arguments = std::iter::once("report".into()).chain(arguments.iter().map(place));
    Command::parse_from(arguments).report.run()
}

#[test]
fn a_result_of_this_format_stays_readable() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run.json");
    if std::env::var_os("OUTRIGGER_UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, report::json(&runs::single_slice()).unwrap()).unwrap();
    }
    let found = read(&file).unwrap();
    assert_eq!((found.name.as_str(), found.counts.sent, found.slices.len()), ("smoke", 5, 1));
    assert!(report::html(&found).is_ok(), "its histograms can be read too");
}

#[test]
fn a_file_renders_as_the_run_did() {
    let folder = folder("again");
    let failing = runs::failing();
    std::fs::write(folder.join("run.json"), report::json(&failing).unwrap()).unwrap();
    run(&folder, &["run.json", "--html", "run.html", "--csv", "run.csv", "--csv-summary", "summary.csv"]).unwrap();
    let written = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert!(written("run.html") == report::html(&failing).unwrap(), "the page is the same");
    assert_eq!(written("run.csv"), report::csv(&failing).unwrap());
    assert_eq!(written("summary.csv"), report::csv_summary(&failing).unwrap());
}

#[test]
fn what_cannot_be_rendered_is_told_with_file_and_key() {
    let folder = folder("refused");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let json = report::json(&runs::single_slice()).unwrap();
    write("good.json", &json);
    write("text.json", "no JSON");
    write("other.json", "{}");
    write("old.json", "{\"format\": \"outrigger-load/0\"}");
    write("broken.json", &json.replacen("\"sent\": 5", "\"sent\": -5", 1));
    let cases: [(&[&str], &str); 6] = [
        (&["absent.json"], "absent.json cannot be read"),
        (&["text.json"], "text.json is no JSON"),
        (&["other.json"], "other.json is no result of outrigger-load"),
        (&["old.json"], "this version reads \"outrigger-load/1\""),
        (&["broken.json"], "broken.json: counts.sent: invalid value"),
        (&["good.json", "good.json", "--csv", "out.csv"], "--csv writes one result: name one file instead of 2"),
    ];
    for (arguments, message) in cases {
        let error = format!("{:#}", run(&folder, arguments).unwrap_err());
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
}
