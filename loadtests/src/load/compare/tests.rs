use std::collections::BTreeMap;

use super::*;
use crate::load::result::Metric;
use crate::load::synthetic::{Builder, Part};

const SLICES: u32 = 20;
const REQUESTS: u32 = 500;

/// Streams with an uneven but fixed spread; what differs between two runs is told by the fields.
#[derive(Clone, Copy)]
struct Streams {
    first: f64,
    /// Of the slowest twentieth of first tokens, beside `first`.
    first_at_the_tail: f64,
    gap: f64,
    failed: u64,
    cpu_share: f64,
    /// So that two runs are not the same numbers.
    seed: u32,
}

const USUAL: Streams = Streams { first: 1.0, first_at_the_tail: 1.0, gap: 1.0, failed: 0, cpu_share: 0.2, seed: 1 };

/// From 0 to 1, evenly spread over many.
fn spread(place: u32, step: f64) -> f64 {
    (f64::from(place) * step).fract()
}

impl Streams {
    fn run(self) -> Run {
        let mut builder = Builder::new("streams");
        for slice in 0..SLICES {
            let mut part = Part {
                seconds: 1.0,
                failed: self.failed,
                cpu_share: Some(self.cpu_share * (1.0 + 0.02 * spread(slice + self.seed, 0.754_877))),
                output_tokens: 2 * u64::from(REQUESTS),
                ..Part::default()
            };
            for request in 0..REQUESTS {
                self.stream((slice + SLICES * self.seed) * REQUESTS + request, &mut part.latencies);
            }
            builder = builder.part(part);
        }
        let mut run = builder.build().unwrap();
        let failed = self.failed * u64::from(SLICES);
        run.errors = if failed > 0 { [("status_503".to_owned(), failed)].into() } else { BTreeMap::new() };
        run
    }

    fn stream(self, place: u32, latencies: &mut BTreeMap<Metric, Vec<f64>>) {
        let at = spread(place, 0.618_033_988_75);
        let tail = if at > 0.95 { self.first_at_the_tail } else { 1.0 };
        let first = 20.0 * self.first * tail * (0.9 * at).exp();
        let gap = 5.0 * self.gap * (0.9 * spread(place, 0.414_213_562_37)).exp();
        for (metric, value) in [
            (Metric::Ttft, first),
            (Metric::ServiceTtft, first),
            (Metric::InterToken, gap),
            (Metric::Tpot, gap),
            (Metric::EndToEnd, first + gap),
            (Metric::Service, first + gap),
        ] {
            latencies.entry(metric).or_default().push(value);
        }
    }
}

fn beside_the_usual(after: Streams) -> Comparison {
    compare(&USUAL.run(), &Streams { seed: 2, ..after }.run(), &Options::default()).unwrap()
}

fn row(comparison: &Comparison, figure: Figure) -> &Row {
    comparison.rows.iter().find(|row| row.figure == figure).unwrap()
}

#[track_caller]
fn assert_finding(comparison: &Comparison, beginning: &str) {
    let told = comparison.findings.iter().any(|finding| finding.starts_with(beginning));
    assert!(told, "{beginning:?} is not told:\n{comparison}");
}

#[test]
fn the_same_is_stable_and_all_figures_are_judged() {
    let comparison = beside_the_usual(USUAL);
    assert_eq!(comparison.verdict, Verdict::Stable, "{comparison}");
    assert_eq!((comparison.severity, comparison.worst(), comparison.findings.len()), (None, None, 0));
    assert_eq!(comparison.rows.iter().filter(|row| row.verdict.is_some()).count(), 6 * 3 + 5, "{comparison}");
    assert_eq!(comparison.alpha_each, 0.005 / 11.0, "six metrics of time and five of counts");
}

#[test]
fn a_slow_tail_alone_is_queueing() {
    let comparison = beside_the_usual(Streams { first_at_the_tail: 1.6, ..USUAL });
    assert_eq!((comparison.verdict, comparison.severity), (Verdict::Degrading, Some(Severity::Moderate)));
    assert_finding(
        &comparison,
        "first token slower, at the tail, the median unchanged: queueing rather than service: p99 TTFT 1.6",
    );
    let delta = row(&comparison, Figure::Latency(Metric::Ttft, Quantile::P99)).delta.unwrap();
    assert!((0.03..0.05).contains(&delta), "of all, a twenty-fifth lies above what the others reach: {delta}");
}

#[test]
fn a_slow_first_token_is_told_from_slow_gaps() {
    let first = beside_the_usual(Streams { first: 1.25, ..USUAL });
    assert_eq!((first.verdict, first.severity), (Verdict::Degrading, Some(Severity::Minor)));
    assert_finding(&first, "first token slower, throughout: p50 TTFT 1.25");
    assert_eq!(first.findings.len(), 1, "{first}");
    let gaps = beside_the_usual(Streams { gap: 2.1, ..USUAL });
    assert_eq!(gaps.severity, Some(Severity::Severe));
    assert_finding(&gaps, "between tokens slower, throughout: p50 inter-token 2.1");
    assert_eq!(gaps.findings.len(), 1, "{gaps}");
}

#[test]
fn what_is_quicker_is_improving() {
    let comparison = beside_the_usual(Streams { first: 0.9, ..USUAL });
    assert_eq!((comparison.verdict, comparison.severity), (Verdict::Improving, None), "{comparison}");
    assert_finding(&comparison, "first token quicker, throughout: p50 TTFT 0.90");
}

#[test]
fn errors_and_cost_are_told_with_their_kinds() {
    let comparison = beside_the_usual(Streams { failed: 10, cpu_share: 0.3, ..USUAL });
    assert_eq!((comparison.verdict, comparison.severity), (Verdict::Degrading, Some(Severity::Severe)));
    assert_finding(&comparison, "errors rose from 0.00 % to 1.96 %: status_503 0 before, 200 after");
    assert_finding(&comparison, "what a request costs: CPU a request 1.5");
    assert_eq!(row(&comparison, Figure::ErrorRate).before, 0.0, "as it was counted");
}

#[test]
fn a_target_that_answers_nothing_is_worse() {
    let mut builder = Builder::new("streams");
    for _ in 0..SLICES {
        builder = builder.part(Part { seconds: 1.0, failed: 100, ..Part::default() });
    }
    let comparison = compare(&USUAL.run(), &builder.build().unwrap(), &Options::default()).unwrap();
    assert_eq!((comparison.verdict, comparison.severity), (Verdict::Degrading, Some(Severity::Severe)), "{comparison}");
    assert_finding(&comparison, "errors rose from 0.00 % to 100.00 %");
}

#[test]
fn what_is_not_to_be_believed_is_compared_but_not_called_stable() {
    let mut after = Streams { seed: 2, ..USUAL }.run();
    after.invalid.push("the schedule was late".to_owned());
    after.cut_short = Some("the target ended".to_owned());
    (after.integrity.checked, after.integrity.whole) = (10, 7);
    let comparison = compare(&USUAL.run(), &after, &Options::default()).unwrap();
    assert_eq!(comparison.verdict, Verdict::Invalid);
    assert_eq!(
        comparison.invalid,
        [
            "after: the schedule was late",
            "after: cut short: the target ended",
            "after: 3 of 10 streams did not come through whole"
        ]
    );
    assert!(comparison.to_string().contains("NOT TO BE BELIEVED: after: the schedule was late"), "{comparison}");
}

#[test]
fn what_differs_but_the_target_is_told() {
    let (mut before, mut after) = (USUAL.run(), USUAL.run());
    before.scenario = serde_json::json!({"name": "streams", "target": {"url": "a"}, "seed": 1, "requests": [1]});
    after.scenario = serde_json::json!({"name": "streams", "target": {"url": "b"}, "seed": 1, "requests": [1]});
    let mismatches = |before: &Run, after: &Run| compare(before, after, &Options::default()).unwrap().mismatches;
    assert_eq!(mismatches(&before, &after), [] as [String; 0], "another target is what an A/B is for");
    after.scenario["requests"] = serde_json::json!([2]);
    after.scenario["warmup_secs"] = 3.into();
    after.machine.class = "another".to_owned();
    let found = mismatches(&before, &after);
    assert!(found[0].starts_with("machine: synthetic-2c-4g-linux before, another after"), "{found:?}");
    assert_eq!(found[1], "scenario: differs in requests, warmup_secs");
}

#[test]
fn few_slices_and_few_requests_are_judged_by_what_they_have() {
    let run = |slower: f64| {
        let latencies: Vec<f64> =
            (0..300).map(|place| slower * 20.0 * (0.9 * spread(place, 0.618_033_988_75)).exp()).collect();
        Builder::new("short").slice(1.0, &latencies).build().unwrap()
    };
    let comparison = compare(&run(1.0), &run(1.5), &Options::default()).unwrap();
    assert_eq!(comparison.verdict, Verdict::Degrading, "the whole sample serves where there is one slice");
    assert!(comparison.rows.iter().any(|row| row.figure == Figure::Latency(Metric::EndToEnd, Quantile::P95)));
    let p99 = Figure::Latency(Metric::EndToEnd, Quantile::P99);
    assert!(comparison.rows.iter().all(|row| row.figure != p99), "three values make no 99th percentile");
    assert_finding(&comparison, "whole answers slower, throughout");
}

#[test]
fn nothing_is_not_stable() {
    let nothing = Builder::new("nothing").build().unwrap();
    let comparison = compare(&nothing, &nothing, &Options::default()).unwrap();
    assert_eq!(comparison.verdict, Verdict::Invalid);
    assert!(comparison.invalid[0].starts_with("there is too little in common"), "{:?}", comparison.invalid);
}

#[test]
fn the_json_says_what_the_text_says() {
    let value = serde_json::to_value(beside_the_usual(Streams { first: 1.25, ..USUAL })).unwrap();
    assert_eq!((&value["verdict"], &value["severity"]), (&"degrading".into(), &"minor".into()));
    let row = &value["rows"].as_array().unwrap().iter().find(|row| row["figure"] == "TTFT p50").unwrap();
    assert!((row["ratio"]["ratio"].as_f64().unwrap() - 1.25).abs() < 0.01, "{row}");
    assert_eq!(row["verdict"], "degrading");
}
