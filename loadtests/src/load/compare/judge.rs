//! From evidence to a verdict.

use serde::Serialize;

use super::Row;
use super::evidence::Evidence;
use super::figure::Figure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Improving,
    Stable,
    Degrading,
    /// Of a whole comparison: nothing is seen to be worse, but a run is not to be believed.
    Invalid,
}

/// Of a degradation, by the factor; below 1.2 it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// At least 1.2 times worse.
    Minor,
    /// At least 1.5 times.
    Moderate,
    /// At least twice.
    Severe,
}

/// Errors that are one more in a thousand requests or fewer are not told: as a ratio, two for one would be much.
const LEAST_ERRORS: f64 = 0.001;

pub struct Rules {
    /// What p must be below.
    pub alpha: f64,
    pub min_effect: f64,
}

impl Rules {
    pub fn row(&self, evidence: Evidence) -> Row {
        let verdict = evidence.p_value.map(|p_value| self.verdict(&evidence, p_value));
        let mut row = Row {
            figure: evidence.figure,
            before: evidence.before,
            after: evidence.after,
            ratio: evidence.ratio,
            p_value: evidence.p_value,
            delta: evidence.delta,
            verdict,
            severity: None,
        };
        if verdict == Some(Verdict::Degrading) {
            row.severity = row.worsening().and_then(Severity::of);
        }
        row
    }

    fn verdict(&self, evidence: &Evidence, p_value: f64) -> Verdict {
        let Some(interval) = evidence.ratio else { return Verdict::Stable };
        let effect = interval.ratio.max(1.0 / interval.ratio) - 1.0;
        let errors = (evidence.after - evidence.before).abs();
        let matters = effect >= self.min_effect && (evidence.figure != Figure::ErrorRate || errors >= LEAST_ERRORS);
        if p_value >= self.alpha || !interval.excludes_one() || !matters {
            return Verdict::Stable;
        }
        match (interval.ratio > 1.0) == evidence.figure.less_is_better() {
            true => Verdict::Degrading,
            false => Verdict::Improving,
        }
    }
}

impl Severity {
    fn of(worsening: f64) -> Option<Severity> {
        match worsening {
            factor if factor >= 2.0 => Some(Severity::Severe),
            factor if factor >= 1.5 => Some(Severity::Moderate),
            factor if factor >= 1.2 => Some(Severity::Minor),
            _ => None,
        }
    }
}

/// One figure that is worse makes the whole worse, whatever else became better.
pub fn overall(rows: &[Row], invalid: &[String]) -> Verdict {
    let any = |verdict| rows.iter().any(|row| row.verdict == Some(verdict));
    match () {
        () if any(Verdict::Degrading) => Verdict::Degrading,
        () if !invalid.is_empty() => Verdict::Invalid,
        () if any(Verdict::Improving) => Verdict::Improving,
        () => Verdict::Stable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::compare::figure::Quantile;
    use crate::load::result::Metric;
    use crate::stats::estimate::Interval;

    const RULES: Rules = Rules { alpha: 0.001, min_effect: 0.015 };

    fn evidence(ratio: f64, reach: f64, p_value: f64) -> Evidence {
        let interval = Interval { ratio, low: ratio / reach, high: ratio * reach };
        let figure = Figure::Latency(Metric::Ttft, Quantile::P50);
        Evidence { figure, before: 1.0, after: ratio, ratio: Some(interval), p_value: Some(p_value), delta: None }
    }

    fn verdict(ratio: f64, reach: f64, p_value: f64) -> Verdict {
        RULES.row(evidence(ratio, reach, p_value)).verdict.unwrap()
    }

    #[test]
    fn a_verdict_needs_all_three() {
        assert_eq!(verdict(1.05, 1.01, 1e-6), Verdict::Degrading);
        assert_eq!(verdict(1.0 / 1.05, 1.01, 1e-6), Verdict::Improving);
        assert_eq!(verdict(1.05, 1.01, 0.002), Verdict::Stable, "not significant");
        assert_eq!(verdict(1.05, 1.06, 1e-6), Verdict::Stable, "the interval includes 1");
        assert_eq!(verdict(1.014, 1.001, 1e-6), Verdict::Stable, "too small to matter");
        assert_eq!(verdict(1.0 / 1.014, 1.001, 1e-6), Verdict::Stable, "in either direction");
    }

    #[test]
    fn less_of_a_rate_is_worse() {
        let fewer = Evidence { figure: Figure::Requests, ..evidence(0.6, 1.01, 1e-9) };
        let row = RULES.row(fewer);
        assert_eq!(
            (row.verdict, row.severity),
            (Some(Verdict::Degrading), Some(Severity::Moderate)),
            "1 / 0.6 is 1.67"
        );
    }

    #[test]
    fn the_severity_is_told_by_the_factor() {
        for (ratio, severity) in [
            (1.19, None),
            (1.2, Some(Severity::Minor)),
            (1.5, Some(Severity::Moderate)),
            (2.0, Some(Severity::Severe)),
            (0.5, None),
        ] {
            assert_eq!(RULES.row(evidence(ratio, 1.01, 1e-9)).severity, severity, "of {ratio}");
        }
    }

    #[test]
    fn an_error_among_thousands_is_no_change() {
        let errors = |before, after| {
            let figure = Figure::ErrorRate;
            RULES.row(Evidence { figure, before, after, ..evidence(3.0, 1.1, 1e-9) }).verdict.unwrap()
        };
        assert_eq!(errors(0.0001, 0.0003), Verdict::Stable);
        assert_eq!(errors(0.01, 0.03), Verdict::Degrading);
    }

    #[test]
    fn what_is_invalid_is_neither_stable_nor_improving() {
        let row = |ratio| RULES.row(evidence(ratio, 1.01, 1e-9));
        let why = ["the schedule was not kept".to_owned()];
        assert_eq!(overall(&[row(1.0)], &why), Verdict::Invalid);
        assert_eq!(overall(&[row(0.8)], &why), Verdict::Invalid);
        assert_eq!(overall(&[row(1.2)], &why), Verdict::Degrading);
        assert_eq!(overall(&[row(0.8), row(1.2)], &[]), Verdict::Degrading, "whatever else became better");
        assert_eq!(overall(&[row(0.8), row(1.0)], &[]), Verdict::Improving);
    }
}
