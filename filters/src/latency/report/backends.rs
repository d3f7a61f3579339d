//! The rules for backends: slower than usual, slower than their siblings, queueing, or simply where the time goes.

use std::collections::BTreeMap;

use super::{Case, Finding, percent, share_of_whole, time};
use crate::latency::profile::{LaneSeen, part};
use crate::latency::regression::Class;
use crate::windows::{Summary, millis, round};

/// Siblings are compared where both have this many.
const MIN_CALLS: u64 = 20;

/// A measure of a lane.
type Of = fn(&LaneSeen) -> Option<Summary>;

#[derive(Default)]
struct Suspect {
    severity: Class,
    evidence: Vec<String>,
    recommendations: Vec<String>,
}

impl Suspect {
    fn add(&mut self, severity: Class, evidence: String, recommendation: String) {
        self.severity = self.severity.max(severity);
        self.evidence.push(evidence);
        if !self.recommendations.contains(&recommendation) {
            self.recommendations.push(recommendation);
        }
    }
}

/// The worst first.
pub fn suspects(case: &Case<'_>) -> Vec<Finding> {
    let mut suspects: BTreeMap<String, Suspect> = BTreeMap::new();
    regressed(case, &mut suspects);
    slower_than_siblings(case, &mut suspects);
    queueing(case, &mut suspects);
    let mut found: Vec<Finding> = suspects.into_iter().map(|(name, suspect)| finding(case, name, suspect)).collect();
    found.sort_by(|one, other| other.severity.cmp(&one.severity).then(other.share.total_cmp(&one.share)));
    found
}

fn finding(case: &Case<'_>, name: String, suspect: Suspect) -> Finding {
    let Suspect { severity, evidence, recommendations } = suspect;
    let share = share_of_whole(case.reviewed, backend_time(case, &name).min(part_time(case)));
    Finding { part: "backend", name, severity, share, evidence, recommendations }
}

/// What backends took of requests' time.
fn part_time(case: &Case<'_>) -> f64 {
    let is_theirs = |name: &str| [part::WAITING, part::GENERATING].contains(&name);
    case.reviewed.parts.iter().filter(|part| is_theirs(part.name)).map(|part| time(&part.summary)).sum()
}

fn backend_time(case: &Case<'_>, name: &str) -> f64 {
    let lanes = case.reviewed.lanes.iter().filter(|lane| lane.backend == name);
    lanes.filter_map(|lane| lane.duration.as_ref()).map(time).sum()
}

fn regressed(case: &Case<'_>, suspects: &mut BTreeMap<String, Suspect>) {
    for series in case.regressions.list(case.now) {
        let Some((ratio, (current, usual))) = series.ratio.zip(series.current_ms.zip(series.baseline_ms)) else {
            continue;
        };
        if series.class == Class::Normal {
            continue;
        }
        let evidence = format!(
            "`{}` of the model `{}` takes {current} ms instead of the usual {usual} ms ({ratio} times as long) since {} s",
            series.measure.name(),
            series.model,
            series.since_seconds
        );
        let advice = format!(
            "the backend `{0}` has become slower than it was: look at its machine and its load; give it less by its \
             `weight` in `[[backends]]`, or let `breaker.balance = \"least_in_flight\"` do so",
            series.backend
        );
        suspects.entry(series.backend.to_string()).or_default().add(series.class, evidence, advice);
    }
}

fn slower_than_siblings(case: &Case<'_>, suspects: &mut BTreeMap<String, Suspect>) {
    for lane in &case.reviewed.lanes {
        let measures: [(&str, Of); 2] =
            [("the first chunk", |lane| lane.first_chunk), ("a token or chunk", |lane| lane.per_output)];
        for (what, of) in measures {
            let enough = |lane: &LaneSeen| of(lane).filter(|summary| summary.count >= MIN_CALLS);
            let others = case.reviewed.lanes.iter().filter(|other| {
                other.model == lane.model && other.backend != lane.backend && lane.model != crate::labels::OTHER
            });
            let mut theirs: Vec<f64> = others.filter_map(enough).map(|summary| summary.p50).collect();
            theirs.sort_by(f64::total_cmp);
            let Some((own, usual)) = enough(lane).zip(theirs.get(theirs.len() / 2).copied()) else { continue };
            let ratio = own.p50 / usual.max(1e-6);
            let severity = match ratio {
                ratio if ratio >= case.config.severe => Class::Severe,
                ratio if ratio >= case.config.moderate => Class::Moderate,
                // Less than that is the other hardware, or other questions.
                _ => continue,
            };
            let evidence = format!(
                "for the model `{}` {what} takes {} ms at the median, and {} ms at the other backends ({} times as long)",
                lane.model,
                millis(own.p50),
                millis(usual),
                round(ratio)
            );
            let advice = format!(
                "the backend `{}` is slower than its siblings: give it less by its `weight` in `[[backends]]`",
                lane.backend
            );
            suspects.entry(lane.backend.clone()).or_default().add(severity, evidence, advice);
        }
    }
}

fn queueing(case: &Case<'_>, suspects: &mut BTreeMap<String, Suspect>) {
    for engine in &case.dependencies.engines {
        let (waiting, running) = (engine.waiting.unwrap_or(0.0), engine.running.unwrap_or(0.0));
        if waiting < 1.0 {
            continue;
        }
        let severity = if waiting > running { Class::Moderate } else { Class::Minor };
        let kept = engine.kv_usage.map(|usage| format!("; its cache of keys and values is {} % full", percent(usage)));
        let evidence =
            format!("its engine has {waiting} requests waiting and {running} running{}", kept.unwrap_or_default());
        let advice = format!(
            "the engine of `{}` queues: add a backend for its models, or lower `breaker.admission.max_limit`, so that \
             requests wait here, by their priority",
            engine.backend
        );
        suspects.entry(engine.backend.clone()).or_default().add(severity, evidence, advice);
    }
}

/// Where all are well: the one that takes most of the time.
pub fn usual(case: &Case<'_>) -> Option<Finding> {
    let names = case.reviewed.lanes.iter().map(|lane| lane.backend.as_str());
    let most = names.max_by(|one, other| backend_time(case, one).total_cmp(&backend_time(case, other)))?;
    let of = |name: &str| {
        let parts = case.reviewed.parts.iter().filter(|part| part.name == name);
        percent(share_of_whole(case.reviewed, parts.map(|part| time(&part.summary)).sum()))
    };
    let evidence = format!(
        "all is as it should be: {} % of the time is the wait for a backend's first chunk and {} % its generation",
        of(part::WAITING),
        of(part::GENERATING)
    );
    Some(finding(case, most.to_owned(), Suspect { evidence: vec![evidence], ..Suspect::default() }))
}
