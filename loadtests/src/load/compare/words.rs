//! Where a run became worse or better, in words.

use super::Row;
use super::figure::{Figure, Quantile, metric_name};
use super::judge::Verdict;
use crate::load::result::{Metric, Run};

/// In milliseconds: a schedule that is kept is this true at p99.
const KEPT: f64 = 1.0;

pub fn findings(rows: &[Row], before: &Run, after: &Run) -> Vec<String> {
    let rows = Rows(rows);
    let mut findings: Vec<String> = Vec::new();
    findings.extend(schedule(before, after));
    findings.extend(rows.errors(before, after));
    let streams = rows.verdicts(Metric::Ttft).iter().any(Option::is_some);
    if streams {
        findings.extend(rows.place("first token", Metric::Ttft, Some(Metric::ServiceTtft)));
        findings.extend(rows.place("between tokens", Metric::InterToken, None));
        if rows.same(Metric::InterToken) {
            findings.extend(rows.place("between tokens, over whole streams", Metric::Tpot, None));
        }
    }
    // What is told of its parts need not be told of the whole.
    if findings.is_empty() {
        findings.extend(rows.place("whole answers", Metric::EndToEnd, Some(Metric::Service)));
        findings.extend(
            rows.place("whole answers, from the sending", Metric::Service, None).filter(|_| findings.is_empty()),
        );
    }
    for (figure, what) in [
        (Figure::Requests, "throughput: requests/s"),
        (Figure::Goodput, "within the service levels: goodput/s"),
        (Figure::OutputTokens, "throughput: output tokens/s"),
        (Figure::CpuPerRequest, "what a request costs: CPU a request"),
    ] {
        findings.extend(rows.changed(figure).map(|row| format!("{what} {}", factor(row))));
    }
    findings
}

/// The load tester's own lateness, which is no target's fault.
fn schedule(before: &Run, after: &Run) -> Option<String> {
    let lag = |run: &Run| run.latencies.get(&Metric::ScheduleLag).map(|lag| lag.p99);
    let (earlier, later) = (lag(before)?, lag(after)?);
    let worst = earlier.max(later);
    (worst > KEPT && worst > 2.0 * earlier.min(later)).then(|| {
        format!(
            "in the schedule: the load tester itself was late by {earlier:.2} ms before and {later:.2} ms after at p99; \
             times from the intended send time differ for that"
        )
    })
}

struct Rows<'a>(&'a [Row]);

impl Rows<'_> {
    fn row(&self, metric: Metric, quantile: Quantile) -> Option<&Row> {
        self.0.iter().find(|row| row.figure == Figure::Latency(metric, quantile))
    }

    fn verdicts(&self, metric: Metric) -> [Option<Verdict>; 3] {
        Quantile::ALL.map(|quantile| self.row(metric, quantile)?.verdict)
    }

    fn same(&self, metric: Metric) -> bool {
        self.verdicts(metric).iter().flatten().all(|verdict| *verdict == Verdict::Stable)
    }

    fn changed(&self, figure: Figure) -> Option<&Row> {
        let row = self.0.iter().find(|row| row.figure == figure)?;
        matches!(row.verdict, Some(Verdict::Degrading | Verdict::Improving)).then_some(row)
    }

    /// A change of the median is one of the service; of the tail alone, of waiting. `sent` is the same metric from the
    /// sending on: where it stayed, the wait was before.
    fn place(&self, what: &str, metric: Metric, sent: Option<Metric>) -> Option<String> {
        let median = self.changed(Figure::Latency(metric, Quantile::P50));
        let tail = [Quantile::P95, Quantile::P99].map(|quantile| self.changed(Figure::Latency(metric, quantile)));
        let row = median.or(tail[1]).or(tail[0])?;
        let slower = row.verdict == Some(Verdict::Degrading);
        let shape = match (median.is_some(), tail.iter().any(Option::is_some), slower) {
            (true, true, _) => "throughout",
            (true, false, _) => "in the middle, the tail unchanged",
            (false, _, true) => "at the tail, the median unchanged: queueing rather than service",
            (false, _, false) => "at the tail, the median unchanged: less queueing",
        };
        let figures: Vec<String> = median.into_iter().chain(tail.into_iter().flatten()).map(told).collect();
        let unsent = sent.is_some_and(|sent| self.same(sent));
        let before_sending =
            if unsent { "; from the sending on unchanged: the wait is for a connection or a turn" } else { "" };
        let pace = if slower { "slower" } else { "quicker" };
        Some(format!("{what} {pace}, {shape}: {}{before_sending}", figures.join(", ")))
    }

    fn errors(&self, before: &Run, after: &Run) -> Option<String> {
        let row = self.changed(Figure::ErrorRate)?;
        let moved = if row.verdict == Some(Verdict::Degrading) { "errors rose" } else { "errors fell" };
        let (earlier, later) = (row.before * 100.0, row.after * 100.0);
        let kinds = before.errors.keys().chain(after.errors.keys()).collect::<std::collections::BTreeSet<_>>();
        let count = |run: &Run, kind: &String| run.errors.get(kind).copied().unwrap_or(0);
        let changed: Vec<String> = kinds
            .into_iter()
            .filter(|kind| count(before, kind) != count(after, kind))
            .map(|kind| format!("{kind} {} before, {} after", count(before, kind), count(after, kind)))
            .collect();
        let kinds = if changed.is_empty() { String::new() } else { format!(": {}", changed.join("; ")) };
        Some(format!("{moved} from {earlier:.2} % to {later:.2} %{kinds}"))
    }
}

fn told(row: &Row) -> String {
    match row.figure {
        Figure::Latency(metric, quantile) => format!("{quantile} {} {}", metric_name(metric), factor(row)),
        figure => format!("{figure} {}", factor(row)),
    }
}

fn factor(row: &Row) -> String {
    row.ratio.map_or_else(String::new, |ratio| format!("{:.3}x [{:.3}, {:.3}]", ratio.ratio, ratio.low, ratio.high))
}
