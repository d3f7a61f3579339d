//! A history as it lies in files: a folder of results, lines of them, a baseline, or plain numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use super::{Series, series};
use crate::load::baseline::{self, Baseline};
use crate::load::files;
use crate::load::result::Run;

/// The series of a folder with results (`*.json`), of a file with one result a line (`*.jsonl`), of a baseline, or of a
/// JSON object of numbers: `{"p50": [20.1, 20.3]}`. Runs are put in the order of their beginnings.
pub fn read(path: &Path) -> anyhow::Result<Vec<Series>> {
    if path.is_dir() {
        return Ok(series(&ordered(folder(path)?)));
    }
    let text = files::read(path)?;
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        return Ok(series(&ordered(lines(path, &text)?)));
    }
    object(&text).with_context(|| format!("{} is no history", path.display()))
}

fn folder(path: &Path) -> anyhow::Result<Vec<(String, Run)>> {
    let entries = std::fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    anyhow::ensure!(!files.is_empty(), "{} holds no result; they are files that end in .json", path.display());
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(|file| Ok((name(file), files::read_run(file)?))).collect()
}

fn lines(path: &Path, text: &str) -> anyhow::Result<Vec<(String, Run)>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(place, line)| {
            let name = format!("line {}", place + 1);
            let run = files::parse(line).and_then(files::checked);
            Ok((name.clone(), run.with_context(|| format!("{}, {name}", path.display()))?))
        })
        .collect()
}

fn object(text: &str) -> anyhow::Result<Vec<Series>> {
    let value: Value = serde_json::from_str(text)?;
    match value.get("format").and_then(Value::as_str) {
        Some(baseline::FORMAT) => {
            let baseline: Baseline = files::parse(text)?;
            Ok(series(&ordered(baseline.runs.into_iter().map(|run| (String::new(), run)).collect())))
        }
        Some(other) => anyhow::bail!("a single file of the format {other:?}; give the folder that holds the results"),
        None => {
            let numbers: BTreeMap<String, Vec<f64>> = files::parse(text)?;
            Ok(numbers.into_iter().map(|(name, values)| plain(name, values)).collect())
        }
    }
}

fn plain(name: String, values: Vec<f64>) -> Series {
    let runs = (0..values.len()).map(|place| place.to_string()).collect();
    Series { name, values, runs, less_is_better: None }
}

/// Called by their beginnings, and by where they lie.
fn ordered(mut runs: Vec<(String, Run)>) -> Vec<(String, Run)> {
    // RFC 3339 in UTC sorts as text.
    runs.sort_by(|one, other| one.1.started_at.cmp(&other.1.started_at));
    let called = |(name, run): (String, Run)| {
        let name = if name.is_empty() { run.started_at.clone() } else { format!("{} {name}", run.started_at) };
        (name, run)
    };
    runs.into_iter().map(called).collect()
}
