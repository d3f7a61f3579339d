//! A chart of lines as inline SVG: no script, font or file from elsewhere is needed to see it.
//!
//! It is drawn twice, for wide and for narrow screens, and the page's style shows one of the two: an image that
//! shrinks takes its words along until nobody can read them. Colours are classes, so that the style has a set for
//! dark screens too. A chart without a value to show says why in words.

pub mod axis;
mod canvas;
mod draw;
mod hover;
mod labels;
mod thin;
mod ticks;

use maud::{Markup, html};

pub use axis::Axis;
use canvas::Canvas;

/// Colours that the style has, beginning with `c0`.
pub const COLOURS: usize = 7;

pub struct Chart {
    /// Of the page, unlike every other's: what the picture is called by those who read it aloud.
    pub id: String,
    pub title: String,
    /// The unit, and what must be known to read the chart.
    pub note: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    pub marks: Vec<Mark>,
    /// Spans of `x` that stand apart, such as those of a fault.
    pub shades: Vec<(f64, f64)>,
    pub width: Width,
    /// What stands in its place where no line has a value.
    pub empty: &'static str,
}

/// Of the chart on a wide screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Full,
    Half,
}

pub struct Line {
    pub name: String,
    /// From 0; beyond [`COLOURS`] they come again, dashed.
    pub colour: usize,
    pub stroke: Stroke,
    /// In order of `x`; where there is no `y` the line has a gap.
    pub points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    Solid,
    Dashed,
    /// With the ground under it in the line's colour.
    Filled,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub at: f64,
    /// As the page's list of marks has it.
    pub number: usize,
    pub what: String,
    /// As the picture has it, beside its number; perhaps nothing.
    pub short: String,
}

impl Chart {
    pub fn figure(&self) -> Markup {
        let class = match self.width {
            Width::Full => "chart full",
            Width::Half => "chart half",
        };
        html! {
            figure class=(class) data-hover=[hover::data(self)] {
                figcaption {
                    h3 id=(self.id) { (self.title) }
                    p { (self.note) }
                }
                @if self.is_empty() {
                    p class="empty" { (self.empty) }
                } @else {
                    (Canvas::wide(self).svg())
                    (Canvas::narrow(self).svg())
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        !self.lines.iter().any(Line::has_values)
    }

    /// What the picture shows, in words, for those who cannot see it.
    fn description(&self) -> String {
        let spans = self.lines.iter().filter_map(|line| {
            let (low, high) = line.span()?;
            Some(format!("{} lies between {} and {}", line.name, self.y.words(low), self.y.words(high)))
        });
        format!("{}. {}.", self.note.trim_end_matches('.'), spans.collect::<Vec<_>>().join("; "))
    }
}

impl Line {
    fn has_values(&self) -> bool {
        self.points.iter().any(|point| point.y.is_some())
    }

    fn span(&self) -> Option<(f64, f64)> {
        span(self.points.iter().filter_map(|point| point.y))
    }

    fn classes(&self) -> String {
        let dashed = self.stroke == Stroke::Dashed || self.colour / COLOURS % 2 == 1;
        format!("line c{}{}", self.colour % COLOURS, if dashed { " dashed" } else { "" })
    }
}

/// The least and the greatest; none of nothing.
pub fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |span, value| match span {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

#[cfg(test)]
mod tests;
