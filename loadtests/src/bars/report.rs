//! What a scenario has to say: a table, bars met and missed, and notes; for people and as JSON.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::rounds::Rounds;

#[derive(Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    rows: Vec<Row>,
    bars: Vec<Bar>,
    notes: Vec<String>,
}

/// One metric of one target over the rounds.
#[derive(Debug, Serialize)]
pub struct Row {
    pub metric: String,
    pub target: String,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// To the base, the median of each round's.
    pub ratio: Option<f64>,
    pub rounds: Vec<f64>,
}

#[derive(Debug, Serialize)]
pub struct Bar {
    bar: String,
    /// None where nothing could be measured: the bar is then missed.
    value: Option<f64>,
    limit: String,
    met: bool,
}

impl Bar {
    pub fn at_most(bar: String, value: Option<f64>, limit: f64) -> Bar {
        let met = value.is_some_and(|value| value <= limit);
        Bar { bar, value, limit: format!("<= {limit}"), met }
    }

    pub fn at_least(bar: String, value: Option<f64>, limit: f64) -> Bar {
        let met = value.is_some_and(|value| value >= limit);
        Bar { bar, value, limit: format!(">= {limit}"), met }
    }

    pub fn exactly(bar: String, value: u64, limit: u64) -> Bar {
        Bar { bar, value: Some(value as f64), limit: format!("= {limit}"), met: value == limit }
    }
}

impl Report {
    pub fn new(scenario: &'static str, rounds: &Rounds) -> Report {
        Report { scenario, rows: rounds.rows(), bars: Vec::new(), notes: Vec::new() }
    }

    pub fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub fn met(&self) -> bool {
        self.bars.iter().all(|bar| bar.met)
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.scenario)?;
        let mut metric = "";
        for row in &self.rows {
            let ratio = row.ratio.map_or(String::new(), |ratio| format!("x{ratio:.3}"));
            let name = if metric == row.metric { "" } else { &row.metric };
            let range = format!("{} - {}", figure(row.min), figure(row.max));
            let (target, median) = (&row.target, figure(row.median));
            writeln!(formatter, "  {name:<28} {target:<12} {median:>10}   {range:<22} {ratio}")?;
            metric = &row.metric;
        }
        for note in &self.notes {
            writeln!(formatter, "  note: {note}")?;
        }
        for bar in &self.bars {
            let word = if bar.met { "met" } else { "MISSED" };
            let value = bar.value.map_or("nothing".to_owned(), figure);
            writeln!(formatter, "  bar {word}: {}: {value} (bar {})", bar.bar, bar.limit)?;
        }
        Ok(())
    }
}

/// Enough digits to compare, no more.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_at_its_limit_and_missed_beyond() {
        let at_most = |value| Bar::at_most(String::new(), value, 1.2).met;
        assert!(at_most(Some(1.2)) && !at_most(Some(1.21)), "at most");
        assert!(!at_most(None) && !at_most(Some(f64::NAN)), "what was not measured is not met");
        assert!(Bar::at_least(String::new(), Some(0.95), 0.95).met, "at least");
        assert!(!Bar::exactly(String::new(), 2, 1).met, "exactly");
    }
}
