//! The picture itself: grid, spans, marks, lines, and each line's name at its end.

use std::fmt::Write;

use maud::{Markup, html};

use super::canvas::{Canvas, MARK_ROW, Plot, round};
use super::labels::{self, LETTER};
use super::thin::thin;
use super::{Line, Point, Stroke};

/// Between the names at the lines' ends.
const NAME_ROOM: f64 = 16.0;

impl Canvas<'_> {
    pub fn svg(&self) -> Markup {
        let plot = self.plot();
        let view = format!("0 0 {} {}", self.width, self.height);
        html! {
            svg class=(self.class) viewBox=(view) role="img" aria-labelledby=(self.chart.id)
                data-plot=(format!("{:.1} {:.1} {:.1} {:.1}", plot.left, plot.right, plot.top, plot.bottom)) {
                desc { (self.chart.description()) }
                (self.shades(&plot))
                (self.grid(&plot))
                (self.marks(&plot))
                @for line in &self.chart.lines { (self.line(line, &plot)) }
                (self.names(&plot))
            }
        }
    }

    fn grid(&self, plot: &Plot) -> Markup {
        let across = self.chart.x.ticks.iter().map(|tick| (self.x(tick.at, plot), vec![tick.text.clone()]));
        // A word stands in the middle under its tick: to be put on a row it begins half its length to the left.
        let across: Vec<_> = across.map(|(x, text)| (x - labels::letters(&text[0]) / 2.0, text)).collect();
        let written = labels::rows(&across, 1, self.width);
        html! {
            g class="grid" {
                @for tick in &self.chart.y.ticks {
                    @let y = self.y(tick.at, plot);
                    line x1=(round(plot.left)) x2=(round(plot.right)) y1=(round(y)) y2=(round(y)) {}
                    text class="end" x=(round(plot.left - 7.0)) y=(round(y + 4.0)) { (tick.text) }
                }
                @for tick in &self.chart.x.ticks {
                    @let x = round(self.x(tick.at, plot));
                    line x1=(x) x2=(x) y1=(round(plot.bottom)) y2=(round(plot.bottom + 4.0)) {}
                }
                @for word in &written {
                    @let middle = word.at + labels::letters(&word.text) / 2.0;
                    text class="middle" x=(round(middle)) y=(round(plot.bottom + 18.0)) { (word.text) }
                }
            }
        }
    }

    fn shades(&self, plot: &Plot) -> Markup {
        html! {
            @for (from, to) in &self.chart.shades {
                @let (left, right) = (self.x(*from, plot), self.x(*to, plot));
                rect class="shade" x=(round(left)) width=(round((right - left).max(1.0))) y=(round(plot.top))
                    height=(round(plot.bottom - plot.top)) {}
            }
        }
    }

    fn marks(&self, plot: &Plot) -> Markup {
        let marks = &self.chart.marks;
        let words = marks.iter().map(|mark| {
            let full = self.short(format!("{} {}", mark.number, mark.short).trim_end());
            // A phone has no room for words: the number leads to the page's list.
            let wordings = [full, mark.number.to_string()].into_iter().skip(usize::from(self.mark_rows < 2));
            (self.x(mark.at, plot) + 3.0, wordings.collect())
        });
        let placed = labels::rows(&words.collect::<Vec<_>>(), self.mark_rows, self.width);
        html! {
            g class="marks" {
                @for mark in marks {
                    @let x = round(self.x(mark.at, plot));
                    line x1=(x) x2=(x) y1=(round(plot.top - 4.0)) y2=(round(plot.bottom)) {}
                }
                @for word in &placed {
                    @let y = plot.top - 8.0 - MARK_ROW * word.row as f64;
                    line x1=(round(word.at - 3.0)) x2=(round(word.at - 3.0)) y1=(round(y - 8.0)) y2=(round(plot.top)) {}
                    text x=(round(word.at)) y=(round(y)) { (word.text) }
                }
            }
        }
    }

    fn line(&self, line: &Line, plot: &Plot) -> Markup {
        // About two points a pixel's width say all that can be seen.
        let points = thin(&line.points, (plot.right - plot.left).max(2.0) as usize);
        let runs: Vec<&[Point]> = points.split(|point| point.y.is_none()).filter(|run| !run.is_empty()).collect();
        html! {
            g class=(line.classes()) {
                @for run in runs {
                    @let path = self.path(run, plot);
                    @if let [only] = run {
                        circle cx=(round(self.x(only.x, plot))) cy=(round(self.point_y(only, plot))) r="3" {}
                    } @else {
                        @if line.stroke == Stroke::Filled { path class="ground" d=(self.ground(&path, run, plot)) {} }
                        path d=(path) {}
                    }
                }
            }
        }
    }

    fn path(&self, run: &[Point], plot: &Plot) -> String {
        run.iter().enumerate().fold(String::new(), |mut path, (place, point)| {
            let letter = if place == 0 { 'M' } else { 'L' };
            // Writing to a String cannot fail.
            let _ = write!(path, "{letter}{} {}", round(self.x(point.x, plot)), round(self.point_y(point, plot)));
            path
        })
    }

    fn ground(&self, path: &str, run: &[Point], plot: &Plot) -> String {
        let ends = run.first().zip(run.last()).map_or((0.0, 0.0), |(first, last)| (first.x, last.x));
        let (left, right) = (round(self.x(ends.0, plot)), round(self.x(ends.1, plot)));
        format!("{path}L{right} {bottom}L{left} {bottom}Z", bottom = round(plot.bottom))
    }

    /// Each line's name beside its last value: nobody has to look a colour up.
    fn names(&self, plot: &Plot) -> Markup {
        let ends = self.chart.lines.iter().filter_map(|line| {
            let last = line.points.iter().rev().find(|point| point.y.is_some())?;
            Some((line, self.point_y(last, plot)))
        });
        let (lines, places): (Vec<&Line>, Vec<f64>) = ends.unzip();
        let places = labels::spread(&places, NAME_ROOM, (plot.top + 4.0, plot.bottom - 4.0));
        html! {
            g class="names" {
                @for (line, y) in lines.iter().zip(places) {
                    g class=(line.classes()) {
                        path d=(format!("M{} {y:.1}h10", round(plot.right + 5.0))) {}
                    }
                    text x=(round(plot.right + 12.0 + LETTER)) y=(round(y + 4.0)) { (self.short(&line.name)) }
                }
            }
        }
    }
}
