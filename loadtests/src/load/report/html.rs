//! One HTML file that needs nothing else: the verdict, the key figures, the charts, and the tables under them.
//!
//! Whatever comes from the data is escaped by the templates; style and script are the report's own.

mod comparison;
mod summary;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts::{charts, marks, names};
use super::figure::time;
use crate::load::result::Run;

const STYLE: &str = include_str!("html/style.css");
/// Words beside the pointer; without it the page says the same, but for single slices.
const SCRIPT: &str = include_str!("html/hover.js");

/// The page of one run; an error where one of its histograms cannot be read.
pub fn html(run: &Run) -> anyhow::Result<String> {
    let runs = std::slice::from_ref(run);
    Ok(page(
        &run.name,
        html! {
            (heading(run))
            (summary::verdict(run))
            (summary::tiles(run))
            (pictures(runs)?)
            (tables::all(run))
        },
    ))
}

/// Several runs on the same charts, a colour each: an A/B, a matrix, or files that are compared.
pub fn html_many(runs: &[Run]) -> anyhow::Result<String> {
    let first = match runs {
        [] => anyhow::bail!("there is no run to report: name at least one result file"),
        [run] => return html(run),
        [first, ..] => first,
    };
    Ok(page(
        &first.name,
        html! {
            header {
                h1 { (first.name) }
                p class="under" { (runs.len()) " runs, from " (first.started_at) }
            }
            (comparison::key(runs))
            (comparison::table(runs))
            (pictures(runs)?)
            @for (run, name) in runs.iter().zip(names(runs)) {
                section class="run" {
                    h2 { (name) }
                    (tables::of_many(run))
                }
            }
        },
    ))
}

fn page(title: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · outrigger-load" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn heading(run: &Run) -> Markup {
    html! {
        header {
            h1 {
                (run.name)
                @if let Some(label) = &run.label { span class="label" { (label) } }
            }
            p class="under" {
                (run.target) " · " (time(run.measured_seconds)) " of " (time(run.planned_seconds)) " planned · from "
                (run.started_at)
            }
        }
    }
}

fn pictures(runs: &[Run]) -> anyhow::Result<Markup> {
    let marks = marks(runs);
    Ok(html! {
        @if !marks.is_empty() {
            section class="timeline" {
                h2 { "Marks" }
                ol { @for mark in &marks { li { span class="at" { (time(mark.at)) } (mark.what) } } }
            }
        }
        section class="charts" { @for chart in charts(runs)? { (chart.figure()) } }
    })
}
