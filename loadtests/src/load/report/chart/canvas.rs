//! The sheet a chart is drawn on: its size, its edges, and where a value lies.

use super::labels::{self, LETTER};
use super::{Chart, Point, Width};

/// Charts below one another have one left and one right edge, unless a number or a name is longer than these.
const LEAST_TICKS: f64 = 6.0 * LETTER;
const LEAST_NAMES: f64 = 9.0 * LETTER;
/// A row of marks' words.
pub const MARK_ROW: f64 = 15.0;

pub struct Canvas<'a> {
    pub chart: &'a Chart,
    pub class: &'static str,
    pub width: f64,
    pub height: f64,
    /// Letters of a name or a mark.
    pub longest: usize,
    pub mark_rows: usize,
}

/// The ground that lines are drawn on.
pub struct Plot {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl<'a> Canvas<'a> {
    pub fn wide(chart: &'a Chart) -> Canvas<'a> {
        let (width, height) = match chart.width {
            Width::Full => (980.0, 300.0),
            Width::Half => (470.0, 230.0),
        };
        Canvas { chart, class: "wide", width, height, longest: 28, mark_rows: 2 }
    }

    pub fn narrow(chart: &'a Chart) -> Canvas<'a> {
        Canvas { chart, class: "narrow", width: 360.0, height: 240.0, longest: 12, mark_rows: 1 }
    }

    pub fn plot(&self) -> Plot {
        let ticks = self.chart.y.ticks.iter().map(|tick| labels::letters(&tick.text)).fold(0.0, f64::max);
        let names = self.chart.lines.iter().map(|line| labels::letters(&self.short(&line.name))).fold(0.0, f64::max);
        let rows = if self.chart.marks.is_empty() { 0 } else { self.mark_rows };
        Plot {
            left: ticks.max(LEAST_TICKS) + 12.0,
            right: self.width - names.max(LEAST_NAMES) - 24.0,
            top: 10.0 + rows as f64 * MARK_ROW,
            bottom: self.height - 26.0,
        }
    }

    pub fn short(&self, name: &str) -> String {
        labels::shortened(name, self.longest)
    }

    pub fn x(&self, value: f64, plot: &Plot) -> f64 {
        plot.left + self.chart.x.place(value) * (plot.right - plot.left)
    }

    pub fn y(&self, value: f64, plot: &Plot) -> f64 {
        plot.bottom - self.chart.y.place(value) * (plot.bottom - plot.top)
    }

    pub fn point_y(&self, point: &Point, plot: &Plot) -> f64 {
        point.y.map_or(plot.bottom, |value| self.y(value, plot))
    }
}

/// A tenth of a pixel is finer than any eye.
pub fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
