//! Every figure of a run, in tables.

use maud::{Markup, html};

use crate::load::report::figure::{count, figure, or_dash, share, time};
use crate::load::report::verdict::kinds;
use crate::load::result::{Distribution, Process, Run};

pub fn all(run: &Run) -> Markup {
    html! {
        section class="tables" {
            (levels(run))
            (latencies(run))
            (errors(run))
            (integrity(run))
            (process(run))
            (machine(run))
        }
        (scenario(run))
    }
}

/// What the comparison does not show already.
pub fn of_many(run: &Run) -> Markup {
    html! {
        (super::summary::verdict(run))
        div class="tables" { (levels(run)) (latencies(run)) (errors(run)) (integrity(run)) (process(run)) (machine(run)) }
        (scenario(run))
    }
}

fn levels(run: &Run) -> Markup {
    html! {
        div class="table wide-table" {
            h3 { "Service levels" }
            @if run.levels.is_empty() { p class="empty" { "The scenario sets none." } }
            @else {
                table {
                    thead { tr { th { "Level" } th class="number" { "Measured" } th { "" } } }
                    tbody {
                        @for level in &run.levels {
                            tr {
                                td { (level.level) }
                                td class="number" { (or_dash(level.value)) }
                                td class=(if level.met { "met" } else { "missed" }) {
                                    (if level.met { "✓ met" } else { "✗ missed" })
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn latencies(run: &Run) -> Markup {
    html! {
        div class="table wide-table" {
            h3 { "Latencies, milliseconds" }
            @if run.latencies.is_empty() { p class="empty" { "Nothing was measured." } }
            @else {
                table {
                    thead {
                        tr {
                            th { "" }
                            @for name in ["count", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"] {
                                th class="number" { (name) }
                            }
                        }
                    }
                    tbody {
                        @for (metric, of) in &run.latencies {
                            tr {
                                th title=(metric.meaning()) { (metric.title()) }
                                td class="number" { (count(of.count)) }
                                @for value in figures(of) { td class="number" { (value) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figures(of: &Distribution) -> [String; 7] {
    let figures = [of.mean, of.p50, of.p90, of.p95, of.p99, of.p999, of.max];
    figures.map(|value| if of.count == 0 { "–".to_owned() } else { figure(value) })
}

fn errors(run: &Run) -> Markup {
    let mut kinds: Vec<(&String, &u64)> = run.errors.iter().collect();
    kinds.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let rows = kinds
        .into_iter()
        .map(|(kind, times)| (kind.clone(), format!("{} ({})", count(*times), share(*times, run.counts.sent))));
    pairs("Errors by kind", rows.collect(), "No request failed.")
}

fn integrity(run: &Run) -> Markup {
    let found = &run.integrity;
    let mut rows = vec![("checked".to_owned(), count(found.checked)), ("whole".to_owned(), count(found.whole))];
    rows.extend(kinds(found).map(|(kind, streams)| (kind.to_owned(), count(streams))));
    let rows = if found.checked == 0 { Vec::new() } else { rows };
    pairs("Integrity of streams", rows, "No stream carried the simulator's marks, so none was checked.")
}

fn process(run: &Run) -> Markup {
    let rows = run.process.as_ref().map(usage).unwrap_or_default();
    pairs("Process of the target", rows, "The target's process was not named, or could not be read.")
}

fn usage(process: &Process) -> Vec<(String, String)> {
    let mib = |value| format!("{} MiB", figure(value));
    let rows = [
        ("process", process.pid.to_string()),
        ("CPU", format!("{} s", figure(process.cpu_seconds))),
        ("CPU a request", format!("{} µs", figure(process.cpu_microseconds_per_request))),
        ("memory at first", mib(process.resident_mib_first)),
        ("memory at last", mib(process.resident_mib_last)),
        ("memory at most", mib(process.resident_mib_peak)),
        ("memory an hour", mib(process.resident_mib_per_hour)),
        ("files at first", count(process.files_first)),
        ("files at last", count(process.files_last)),
        ("files an hour", figure(process.files_per_hour)),
    ];
    rows.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn machine(run: &Run) -> Markup {
    let machine = &run.machine;
    let rows = [
        ("class", machine.class.clone()),
        ("processor", format!("{} ({} cores)", machine.cpu, machine.cores)),
        ("memory", format!("{} MiB", count(machine.memory_mib))),
        ("kernel", machine.kernel.clone()),
        ("load tester", run.tool.clone()),
        ("measured", format!("{} of {} planned", time(run.measured_seconds), time(run.planned_seconds))),
    ];
    pairs("Machine of the load tester", rows.map(|(name, value)| (name.to_owned(), value)).to_vec(), "")
}

fn pairs(title: &str, rows: Vec<(String, String)>, empty: &str) -> Markup {
    html! {
        div class="table" {
            h3 { (title) }
            @if rows.is_empty() { p class="empty" { (empty) } }
            @else {
                table { tbody { @for (name, value) in &rows { tr { th { (name) } td class="number" { (value) } } } } }
            }
        }
    }
}

fn scenario(run: &Run) -> Markup {
    // A JSON value can always be written; were it not, the report would still stand.
    let text = serde_json::to_string_pretty(&run.scenario).unwrap_or_default();
    html! { details { summary { "The scenario as it was run" } pre { (text) } } }
}
