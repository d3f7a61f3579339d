//! A run told to people and programs: text, JSON and its schema, CSV, and one HTML file with charts.
//!
//! Each takes the [`Run`] alone, so that a result can be rendered again long after it was measured.

mod chart;
mod charts;
pub mod command;
mod csv;
pub(super) mod figure;
mod html;
mod metric;
mod percentiles;
mod schema;
mod text;
mod verdict;
mod window;

use anyhow::Context;

use super::result::Run;

pub use csv::{summary as csv_summary, timeline as csv};
pub use html::{html, html_many};
pub use schema::schema;
pub use verdict::{Outcome, Verdict};

/// For a terminal of 100 columns; the verdict is the first line.
pub fn text(run: &Run) -> String {
    text::Text(run).to_string()
}

/// The whole of a run, as [`schema`] describes it.
pub fn json(run: &Run) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(run).context("the run cannot be written as JSON")?;
    Ok(text + "\n")
}
