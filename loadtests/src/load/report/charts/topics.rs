//! The charts over time: what each shows of a slice, and what it says where there is nothing to show.

use crate::load::report::chart::{Stroke, Width};
use crate::load::result::Slice;

pub struct Topic {
    pub id: &'static str,
    pub title: &'static str,
    pub note: &'static str,
    pub series: &'static [Series],
    pub range: Range,
    pub width: Width,
    pub empty: &'static str,
}

pub enum Range {
    FromZero,
    /// From 0, of things that come whole.
    Counts,
    /// Logarithmic where the values are far apart.
    Wide,
}

pub struct Series {
    pub name: &'static str,
    pub value: fn(&Slice) -> Option<f64>,
    pub colour: usize,
    pub stroke: Stroke,
    /// Whether it is drawn where runs stand beside each other.
    pub compared: bool,
}

pub const TOPICS: [Topic; 9] = [
    Topic {
        id: "latency",
        title: "Latency over time",
        note: "End to end, from the intended send time to the last byte; milliseconds",
        series: &[
            series("p99", |slice| slice.end_to_end.as_ref().map(|of| of.p99), 2).compared(),
            series("p95", |slice| slice.end_to_end.as_ref().map(|of| of.p95), 0),
            series("p50", |slice| slice.end_to_end.as_ref().map(|of| of.p50), 3).compared(),
        ],
        range: Range::Wide,
        width: Width::Full,
        empty: "Nothing was answered, so there is no latency to show.",
    },
    Topic {
        id: "ttft",
        title: "Time to first token over time",
        note: "From the intended send time to a stream's first content; milliseconds",
        series: &[
            series("p99", |slice| slice.ttft.as_ref().map(|of| of.p99), 2).compared(),
            series("p95", |slice| slice.ttft.as_ref().map(|of| of.p95), 0),
            series("p50", |slice| slice.ttft.as_ref().map(|of| of.p50), 3).compared(),
        ],
        range: Range::Wide,
        width: Width::Full,
        empty: "No stream was answered, so there is no time to a first token.",
    },
    Topic {
        id: "requests",
        title: "Requests",
        note: "A second, by their intended send time",
        series: &[
            series("sent", |slice| rate(slice, slice.sent), 3),
            series("answered", |slice| rate(slice, slice.answered), 0).compared(),
        ],
        range: Range::FromZero,
        width: Width::Full,
        empty: "The run has no timeline: it ended before its first slice did.",
    },
    Topic {
        id: "failed",
        title: "Failed requests",
        note: "A second, by their intended send time",
        series: &[series("failed", |slice| rate(slice, slice.failed), 2).filled().compared()],
        range: Range::FromZero,
        width: Width::Half,
        empty: "The run has no timeline: it ended before its first slice did.",
    },
    Topic {
        id: "in-flight",
        title: "Requests in flight",
        note: "At the end of each slice",
        series: &[series("in flight", |slice| Some(slice.in_flight as f64), 3).compared()],
        range: Range::Counts,
        width: Width::Half,
        empty: "The run has no timeline: it ended before its first slice did.",
    },
    Topic {
        id: "tokens",
        title: "Output tokens",
        note: "A second",
        series: &[series("tokens", |slice| rate(slice, slice.output_tokens), 4).compared()],
        range: Range::FromZero,
        width: Width::Half,
        empty: "The run has no timeline: it ended before its first slice did.",
    },
    Topic {
        id: "memory",
        title: "Memory of the target",
        note: "Resident, MiB",
        series: &[series("resident", |slice| slice.resident_mib, 5).filled().compared()],
        range: Range::FromZero,
        width: Width::Half,
        empty: "The target's process was not named, or could not be read.",
    },
    Topic {
        id: "cpu",
        title: "CPU of the target",
        note: "Cores in use",
        series: &[series("cores", |slice| slice.cpu_share, 5).filled().compared()],
        range: Range::FromZero,
        width: Width::Half,
        empty: "The target's process was not named, or could not be read.",
    },
    Topic {
        id: "files",
        title: "Open files of the target",
        note: "File descriptors, at the end of each slice",
        series: &[series("files", |slice| slice.open_files.map(|files| files as f64), 5).compared()],
        range: Range::Counts,
        width: Width::Half,
        empty: "The target's process was not named, or could not be read.",
    },
];

const fn series(name: &'static str, value: fn(&Slice) -> Option<f64>, colour: usize) -> Series {
    Series { name, value, colour, stroke: Stroke::Solid, compared: false }
}

impl Series {
    const fn compared(self) -> Series {
        Series { compared: true, ..self }
    }

    const fn filled(self) -> Series {
        Series { stroke: Stroke::Filled, ..self }
    }
}

/// A second; none of a slice without length.
fn rate(slice: &Slice, count: u64) -> Option<f64> {
    (slice.seconds > 0.0).then(|| count as f64 / slice.seconds)
}
