//! One client: a renewal process whose rate and form change from window to window.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::lengths::Lengths;
use crate::load::arrival::gaps::{Gaps, Shape};
use crate::load::arrival::{Arrivals, Purpose, Random, random};

/// Seconds: that of a file with a single row, whose end nothing tells.
const USUAL_WINDOW: f64 = 600.0;

pub struct Client {
    windows: Vec<Window>,
    lengths: Option<Lengths>,
    times: Random,
    /// Its own, so that a draw of lengths leaves the times alone.
    sizes: Random,
    place: usize,
    /// Where it is, on the trace's clock.
    here: f64,
    /// To the next request, in units of expected requests; none until the client first speaks.
    gap: Option<f64>,
}

struct Window {
    begin: f64,
    end: f64,
    rate: f64,
    /// None where the client is silent.
    gaps: Option<Gaps>,
}

#[derive(Deserialize)]
struct Row {
    begin: f64,
    rate: f64,
    _cv: f64,
    distribution: String,
    shape: f64,
    _scale: f64,
}

impl Client {
    pub fn read(path: &Path, lengths: Option<Lengths>) -> anyhow::Result<Client> {
        let context = || format!("the trace {} cannot be read", path.display());
        let rows = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_path(path);
        let mut windows: Vec<Window> = Vec::new();
        for (row, line) in rows.with_context(context)?.into_deserialize::<Row>().zip(1_u64..) {
            let row = row.with_context(context)?;
            let window = Window::new(&row).with_context(|| format!("line {line}")).with_context(context)?;
            if let Some(last) = windows.last_mut() {
                ensure!(window.begin > last.begin, "{}: line {line}: time goes back", path.display());
                last.end = window.begin;
            }
            windows.push(window);
        }
        let width = windows.first().map_or(USUAL_WINDOW, |first| first.end - first.begin);
        let Some(last) = windows.last_mut() else { bail!("the trace {} is empty", path.display()) };
        // As long as the others: nothing tells it.
        last.end = last.begin + if width.is_finite() { width } else { USUAL_WINDOW };
        let (times, sizes) = (random(0, Purpose::Times), random(0, Purpose::Mix));
        Ok(Client { windows, lengths, times, sizes, place: 0, here: 0.0, gap: None })
    }

    /// From this second on, with the draws of this number.
    pub fn begin(mut self, from: f64, seed: u64, number: u32) -> Client {
        self.times = random(seed, Purpose::Client(number.wrapping_mul(2)));
        self.sizes = random(seed, Purpose::Client(number.wrapping_mul(2).wrapping_add(1)));
        self.place = self.windows.partition_point(|window| window.end <= from);
        self.here = from;
        self
    }

    /// Of a request at this second; none where nothing tells them.
    pub fn lengths(&mut self, at: f64) -> (Option<u32>, Option<u32>) {
        match &self.lengths {
            Some(lengths) => lengths.draw(at, &mut self.sizes),
            None => (None, None),
        }
    }
}

impl Iterator for Client {
    /// Seconds on the trace's clock.
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        loop {
            let window = self.windows.get(self.place)?;
            self.here = self.here.max(window.begin);
            if let Some(gaps) = &window.gaps {
                let gap = self.gap.unwrap_or_else(|| gaps.first(&mut self.times));
                let left = window.rate * (window.end - self.here);
                if gap < left {
                    self.here += gap / window.rate;
                    self.gap = Some(gaps.next(&mut self.times));
                    return Some(self.here);
                }
                self.gap = Some(gap - left);
            }
            self.place += 1;
        }
    }
}

impl Window {
    fn new(row: &Row) -> anyhow::Result<Window> {
        ensure!(row.begin.is_finite() && row.begin >= 0.0, "{} is no time", row.begin);
        ensure!((0.0..=1e9).contains(&row.rate), "{} is no rate", row.rate);
        let shape = || Shape::try_from(row.shape.clamp(Shape::LEAST, Shape::MOST)).map_err(anyhow::Error::msg);
        let arrivals = match row.distribution.as_str() {
            "Gamma" => Some(Arrivals::Gamma { burstiness: shape()? }),
            "Weibull" => Some(Arrivals::Weibull { shape: shape()? }),
            "" => None,
            other => bail!("the distribution {other:?} is not known: it is Gamma, Weibull, or empty"),
        };
        let gaps = arrivals.filter(|_| row.rate > 0.0).map(Gaps::new).transpose()?;
        Ok(Window { begin: row.begin, end: f64::INFINITY, rate: row.rate, gaps })
    }
}
