//! Runs beside each other: which colour is whose, and the figures of all in one table.

use maud::{Markup, html};

use super::summary::class;
use crate::load::report::chart::COLOURS;
use crate::load::report::charts::names;
use crate::load::report::figure::{figure, or_dash, share};
use crate::load::report::verdict::Verdict;
use crate::load::result::{Distribution, Metric, Run};

pub fn key(runs: &[Run]) -> Markup {
    html! {
        section class="key" {
            @for (place, (run, name)) in runs.iter().zip(names(runs)).enumerate() {
                @let verdict = Verdict::of(run);
                @let dashed = if place / COLOURS % 2 == 1 { " dashed" } else { "" };
                div class="entry" {
                    span class=(format!("swatch c{}{dashed}", place % COLOURS)) {}
                    strong { (name) }
                    span class=(format!("chip {}", class(verdict.outcome))) { (verdict.word()) }
                    span class="under" { (run.target) }
                }
            }
        }
    }
}

pub fn table(runs: &[Run]) -> Markup {
    html! {
        div class="table wide-table" {
            table {
                thead { tr { th { "" } @for name in names(runs) { th class="number" { (name) } } } }
                tbody {
                    @for (row, values) in rows(runs) {
                        tr { th { (row) } @for value in &values { td class="number" { (value) } } }
                    }
                }
            }
        }
    }
}

/// What a quantile is called, and where it stands.
type Quantile = (&'static str, fn(&Distribution) -> f64);

const QUANTILES: [Quantile; 3] = [("p50", |of| of.p50), ("p95", |of| of.p95), ("p99", |of| of.p99)];

fn rows(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let row = |name: &str, value: fn(&Run) -> String| (name.to_owned(), runs.iter().map(value).collect());
    let mut rows = vec![
        row("Requests/s", |run| figure(run.rates.requests)),
        row("Goodput, requests/s", |run| figure(run.rates.goodput)),
        row("Output tokens/s", |run| figure(run.rates.output_tokens)),
        row("Failed", |run| share(run.counts.failed, run.counts.sent)),
    ];
    for metric in [Metric::EndToEnd, Metric::Ttft, Metric::InterToken, Metric::ScheduleLag] {
        if !runs.iter().any(|run| run.latencies.contains_key(&metric)) {
            continue;
        }
        for (quantile, value) in QUANTILES {
            let values =
                runs.iter().map(|run| or_dash(run.latencies.get(&metric).filter(|of| of.count > 0).map(value)));
            rows.push((format!("{} {quantile}, ms", metric.title()), values.collect()));
        }
    }
    rows.push(row("CPU a request, µs", |run| {
        or_dash(run.process.as_ref().map(|process| process.cpu_microseconds_per_request))
    }));
    rows.push(row("Memory at most, MiB", |run| or_dash(run.process.as_ref().map(|process| process.resident_mib_peak))));
    rows
}
