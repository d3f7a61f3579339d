//! Tables for spreadsheets and notebooks: the timeline, one row a slice; and the summary, one row a figure.

use anyhow::Context;
use csv::Writer;

use crate::load::result::{Distribution, Run, Slice};

const STATISTICS: [&str; 10] = ["count", "min", "mean", "stdev", "p50", "p90", "p95", "p99", "p999", "max"];

/// The timeline: what was counted in each slice, latencies in milliseconds, and the marks that lie in it. What was
/// not measured is an empty field.
pub fn timeline(run: &Run) -> anyhow::Result<String> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(names())?;
    for slice in &run.slices {
        writer.write_record(fields(slice, run))?;
    }
    text(writer)
}

/// The summary, in long form, so that files of several runs can be put together: `metric,statistic,value`. Latencies
/// are in milliseconds, rates a second; metrics have the names that they have in the JSON.
pub fn summary(run: &Run) -> anyhow::Result<String> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(["metric", "statistic", "value"])?;
    for (metric, of) in &run.latencies {
        for (statistic, value) in STATISTICS.iter().zip(values(of)) {
            writer.write_record([metric.key(), statistic, &value.to_string()])?;
        }
    }
    for (group, figures) in [("counts", object(&run.counts)?), ("rates", object(&run.rates)?)] {
        for (name, value) in figures {
            writer.write_record([group, &name, &value.to_string()])?;
        }
    }
    for (kind, times) in &run.errors {
        writer.write_record(["errors", kind, &times.to_string()])?;
    }
    for (name, streams) in object(&run.integrity)? {
        writer.write_record(["integrity", &name, &streams.to_string()])?;
    }
    text(writer)
}

fn names() -> Vec<String> {
    let counted = ["at_seconds", "seconds", "sent", "answered", "failed", "output_tokens", "in_flight"];
    let mut names: Vec<String> = counted.map(str::to_owned).to_vec();
    for metric in ["end_to_end", "ttft"] {
        names.extend(STATISTICS.iter().map(|statistic| match *statistic {
            "count" => format!("{metric}_count"),
            statistic => format!("{metric}_{statistic}_ms"),
        }));
    }
    names.extend(["resident_mib", "open_files", "cpu_share", "marks"].map(str::to_owned));
    names
}

fn fields(slice: &Slice, run: &Run) -> Vec<String> {
    let mut fields = vec![slice.at_seconds.to_string(), slice.seconds.to_string()];
    let counted = [slice.sent, slice.answered, slice.failed, slice.output_tokens, slice.in_flight];
    fields.extend(counted.map(|value| value.to_string()));
    for of in [&slice.end_to_end, &slice.ttft] {
        match of {
            Some(of) => fields.extend(values(of).map(|value| value.to_string())),
            None => fields.extend(STATISTICS.map(|_| String::new())),
        }
    }
    fields.push(slice.resident_mib.map_or(String::new(), |mib| mib.to_string()));
    fields.push(slice.open_files.map_or(String::new(), |files| files.to_string()));
    fields.push(slice.cpu_share.map_or(String::new(), |share| share.to_string()));
    fields.push(marks(slice, run));
    fields
}

fn marks(slice: &Slice, run: &Run) -> String {
    let span = slice.at_seconds..slice.at_seconds + slice.seconds;
    let marks = run.marks.iter().filter(|mark| span.contains(&mark.at_seconds));
    marks.map(|mark| mark.what.as_str()).collect::<Vec<_>>().join("; ")
}

fn values(of: &Distribution) -> [f64; 10] {
    [of.count as f64, of.min, of.mean, of.stdev, of.p50, of.p90, of.p95, of.p99, of.p999, of.max]
}

/// The fields of a flat struct, by the names that the JSON has.
fn object(of: &impl serde::Serialize) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    match serde_json::to_value(of)? {
        serde_json::Value::Object(fields) => Ok(fields),
        other => anyhow::bail!("{other} is no table of figures"),
    }
}

fn text(writer: Writer<Vec<u8>>) -> anyhow::Result<String> {
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("the CSV cannot be written: {error}"))?;
    String::from_utf8(bytes).context("the CSV is no text")
}
