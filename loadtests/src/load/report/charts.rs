//! Which charts a report has, of one run or of several beside each other.
//!
//! Of one run, each figure is a line in a colour of its own; of several, each run has a colour, and of every chart's
//! figures only those are drawn that a comparison needs.

mod topics;

use super::chart::{Axis, Chart, Line, Mark, Point, Stroke, Width};
use super::{percentiles, window};
use crate::load::result::{Metric, Run, Slice};
use topics::{Range, Series, TOPICS, Topic};

/// The end of an axis of whole things, so that none of them is written beside it in parts.
const LEAST_COUNTS: f64 = 5.0;

/// In the order of the page; an error where a file's histogram cannot be read.
pub fn charts(runs: &[Run]) -> anyhow::Result<Vec<Chart>> {
    let mut charts: Vec<Chart> = TOPICS.iter().map(|topic| timeline(topic, runs)).collect();
    charts.insert(1, percentile_chart(runs)?);
    Ok(charts)
}

/// Marks in the order of their times, numbered as the page lists them. Runs beside each other have one script of
/// faults and stages: the first tells it for all.
pub fn marks(runs: &[Run]) -> Vec<Mark> {
    let marks = runs.first().map_or(&[][..], |run| &run.marks);
    let numbered = marks.iter().zip(1..).map(|(mark, number)| Mark {
        at: mark.at_seconds,
        number,
        what: mark.what.clone(),
        short: window::short(&mark.what).to_owned(),
    });
    numbered.collect()
}

/// What each run is called beside the others: its label or its target, or where others have the same, its place and its
/// scenario.
pub fn names(runs: &[Run]) -> Vec<String> {
    let usual = |run: &Run| run.label.as_ref().unwrap_or(&run.target).clone();
    let own = |name: &String| runs.iter().filter(|run| usual(run) == *name).count() == 1;
    let named = runs.iter().zip(1..);
    named.map(|(run, place)| Some(usual(run)).filter(own).unwrap_or_else(|| format!("{place} {}", run.name))).collect()
}

fn timeline(topic: &Topic, runs: &[Run]) -> Chart {
    let lines = match runs {
        [run] => topic.series.iter().map(|series| line(series, run)).collect(),
        _ => compared(topic, runs),
    };
    let values = || lines.iter().flat_map(|line| &line.points).filter_map(|point| point.y);
    let y = match topic.range {
        Range::FromZero => Axis::linear(values()),
        Range::Counts => Axis::linear(values().chain([LEAST_COUNTS])),
        Range::Wide => Axis::wide(values()),
    };
    let seconds = runs.iter().filter_map(|run| run.slices.last()).map(|slice| slice.at_seconds + slice.seconds);
    Chart {
        id: topic.id.to_owned(),
        title: topic.title.to_owned(),
        note: noted(topic.note, &y),
        x: Axis::time(seconds.fold(0.0, f64::max)),
        y,
        lines,
        marks: marks(runs),
        shades: runs.first().map(window::windows).unwrap_or_default(),
        width: topic.width,
        empty: topic.empty,
    }
}

fn line(series: &Series, run: &Run) -> Line {
    let points = points(run, series.value);
    Line { name: series.name.to_owned(), colour: series.colour, stroke: series.stroke, points }
}

/// A line a run and figure: the last figure solid, the one before it dashed.
fn compared(topic: &Topic, runs: &[Run]) -> Vec<Line> {
    let series: Vec<&Series> = topic.series.iter().filter(|series| series.compared).collect();
    let several = series.len() > 1;
    let strokes: &[Stroke] = if several { &[Stroke::Dashed, Stroke::Solid] } else { &[Stroke::Solid] };
    let named = runs.iter().zip(names(runs)).enumerate();
    let lines = named.flat_map(|(colour, (run, own))| {
        series.iter().zip(strokes).map(move |(series, stroke)| {
            let name = if several { format!("{} {own}", series.name) } else { own.clone() };
            Line { name, colour, stroke: *stroke, points: points(run, series.value) }
        })
    });
    lines.collect()
}

/// A slice's value stands at its middle.
fn points(run: &Run, value: fn(&Slice) -> Option<f64>) -> Vec<Point> {
    let point = |slice: &Slice| Point {
        x: slice.at_seconds + slice.seconds / 2.0,
        y: value(slice).filter(|value| value.is_finite()),
    };
    run.slices.iter().map(point).collect()
}

fn percentile_chart(runs: &[Run]) -> anyhow::Result<Chart> {
    let mut lines = Vec::new();
    for (place, (run, own)) in runs.iter().zip(names(runs)).enumerate() {
        for (metric, distribution) in &run.latencies {
            // The load's own lateness would take half the picture, and says nothing of the target.
            let wanted = *metric == Metric::EndToEnd || runs.len() == 1 && *metric != Metric::ScheduleLag;
            if !wanted || distribution.count == 0 {
                continue;
            }
            let (name, colour) = match runs.len() {
                1 => (metric.title().to_owned(), colour(*metric)),
                _ => (own.clone(), place),
            };
            lines.push(Line { name, colour, stroke: Stroke::Solid, points: percentiles::curve(distribution)? });
        }
    }
    let last = lines.iter().filter_map(|line| line.points.last()).map(|point| point.x).fold(0.0, f64::max);
    let y = Axis::wide(lines.iter().flat_map(|line| &line.points).filter_map(|point| point.y));
    let note = match runs.len() {
        1 => "Milliseconds that so many of all requests, or of all gaps between tokens, stayed within",
        _ => "End to end, milliseconds that so many of all requests stayed within",
    };
    Ok(Chart {
        id: "percentiles".to_owned(),
        title: "Latency by percentile".to_owned(),
        note: noted(note, &y),
        x: Axis::percentile(last),
        y,
        lines,
        marks: Vec::new(),
        shades: Vec::new(),
        width: Width::Full,
        empty: "Nothing was answered, so there is no latency to show.",
    })
}

const fn colour(metric: Metric) -> usize {
    match metric {
        Metric::EndToEnd => 0,
        Metric::ServiceTtft => 1,
        Metric::Ttft => 2,
        Metric::InterToken => 3,
        Metric::Tpot => 4,
        Metric::Service => 5,
        Metric::ScheduleLag => 6,
    }
}

fn noted(note: &str, y: &Axis) -> String {
    let scale = if y.is_logarithmic() { "; logarithmic" } else { "" };
    format!("{note}{scale}")
}
