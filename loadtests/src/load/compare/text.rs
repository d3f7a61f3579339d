//! A comparison as people read it: the verdict, where, and then every figure.

use std::fmt::{self, Display, Formatter};

use super::figure::Figure;
use super::judge::{Severity, Verdict};
use super::{Comparison, Row, Side};

impl Display for Comparison {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let severity = self.severity.map_or(String::new(), |severity| format!(" ({severity})"));
        writeln!(formatter, "{}{severity}: {}", self.verdict.to_string().to_uppercase(), self.before.name)?;
        writeln!(formatter, "  before  {}", self.before)?;
        writeln!(formatter, "  after   {}", self.after)?;
        for mismatch in &self.mismatches {
            writeln!(formatter, "  NOT COMPARABLE: {mismatch}")?;
        }
        for reason in &self.invalid {
            writeln!(formatter, "  NOT TO BE BELIEVED: {reason}")?;
        }
        for finding in &self.findings {
            writeln!(formatter, "  - {finding}")?;
        }
        let confidence = format!("ratio [{:.0} % interval]", self.options.confidence * 100.0);
        writeln!(formatter, "\n  {:<19}{:>11}{:>11}  {confidence:<24}{:>8}  verdict", "", "before", "after", "p")?;
        self.rows.iter().try_for_each(|row| writeln!(formatter, "  {row}"))?;
        writeln!(
            formatter,
            "  Latencies in ms, CPU in us. A change is told where p < {:.5}, the interval leaves out 1, and the ratio is \
             beyond {:.1} %.",
            self.alpha_each,
            self.options.min_effect * 100.0
        )
    }
}

impl Display for Side {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let label = self.label.as_ref().map_or(String::new(), |label| format!("{label} "));
        write!(formatter, "{label}{}, {}, {} requests, {}", self.target, self.started_at, self.sent, self.machine)
    }
}

impl Display for Row {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio.map_or(String::new(), |interval| {
            format!("{:.3}x [{:.3}, {:.3}]", interval.ratio, interval.low, interval.high)
        });
        let p_value = self.p_value.map_or(String::new(), p_value);
        let verdict = match (self.verdict, self.severity) {
            (Some(verdict), Some(severity)) => format!("{verdict}, {severity}"),
            (Some(verdict), None) => verdict.to_string(),
            (None, _) => "too little to judge".to_owned(),
        };
        let (before, after) = (value(self.figure, self.before), value(self.figure, self.after));
        let figure = self.figure.to_string();
        write!(formatter, "{figure:<19}{before:>11}{after:>11}  {ratio:<24}{p_value:>8}  {verdict}")
    }
}

fn p_value(p: f64) -> String {
    if p >= 0.0001 { format!("{p:.4}") } else { "<0.0001".to_owned() }
}

fn value(figure: Figure, value: f64) -> String {
    match (figure, value.abs()) {
        (Figure::ErrorRate, _) => format!("{:.3} %", value * 100.0),
        (_, size) if size >= 1000.0 => format!("{value:.0}"),
        (_, size) if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl Display for Verdict {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Verdict::Improving => "improving",
            Verdict::Stable => "stable",
            Verdict::Degrading => "degrading",
            Verdict::Invalid => "invalid",
        })
    }
}

impl Display for Severity {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Severity::Minor => "minor",
            Severity::Moderate => "moderate",
            Severity::Severe => "severe",
        })
    }
}
