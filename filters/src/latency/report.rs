//! Where the time goes, over five minutes: the parts of a request, the bottleneck with its evidence, and what to turn.
//!
//! A model takes 99 % of the time while all is well, so the largest share alone says nothing. A room is abnormal where
//! one of twenty requests takes longer in it, by itself, than `allowance_ms`, *and* it takes at least
//! `allowance_share` of the time until the heads of answers. The first of these rules that holds names the bottleneck;
//! the others that hold are findings behind it:
//!
//! 1. redis: a room that asks Redis is abnormal and Redis's own times explain it; or one call in twenty ran into its
//!    timeout, which cuts off what a slow Redis would cost, so that the room alone does not show it.
//! 2. embedder: the semantic cache is abnormal and the wait for the embedder and its run explain it; or its queue is
//!    nine tenths full, or it refuses one question in twenty.
//! 3. disk: the semantic cache is abnormal and the disk's times explain it.
//! 4. any other abnormal room; for `breaker` that is the wait for a place at a backend.
//! 5. a backend that is slower than its baseline, or than its siblings for the same model, or whose engine queues.
//! 6. else the backend that takes most of the time, which is as it should be: severity `none`.
//!
//! Something explains a room where its 95th percentile is at least three tenths of the room's: a room may ask twice.

mod backends;
mod ours;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Config;
use super::profile::{Profile, Reviewed};
use super::regression::{Class, Regressions};
use crate::windows::{Summary, Window, millis, round};

const WINDOW: Window = Window::Five;
/// Fewer requests than this show nothing.
const MIN_REQUESTS: u64 = 20;

/// What is known beside the profile, over about the same five minutes. What is not used is none.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    pub redis: Option<Redis>,
    pub embedder: Option<Embedder>,
    pub disk: Option<Disk>,
    pub engines: Vec<Engine>,
}

/// Calls to Redis that requests waited for.
#[derive(Clone, Debug, Default)]
pub struct Redis {
    /// All of them, those that ran into the timeout too.
    pub calls: Option<Summary>,
    /// `redis.timeout_ms`
    pub timeout_ms: f64,
    pub timeouts: u64,
    /// Other errors: refused, cut.
    pub errors: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Embedder {
    /// Questions that wait for it now, and how many may.
    pub waiting: u64,
    pub queue_limit: u64,
    pub wait: Option<Summary>,
    pub run: Option<Summary>,
    /// Of the questions that wanted it, those that found no room.
    pub refused_share: f64,
}

/// Reads of kept answers from disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub calls: Option<Summary>,
}

/// What a backend's engine says of itself.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    pub backend: String,
    pub waiting: Option<f64>,
    pub running: Option<f64>,
    /// The share of its cache of keys and values that is used.
    pub kv_usage: Option<f64>,
}

/// Something that takes time, and what speaks for it.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    part: &'static str,
    name: String,
    severity: Class,
    /// Of the whole time of requests.
    share: f64,
    evidence: Vec<String>,
    recommendations: Vec<String>,
}

impl Finding {
    fn json(&self) -> Value {
        let severity = if self.severity == Class::Normal { "none" } else { self.severity.name() };
        json!({
            "part": self.part, "name": self.name, "severity": severity,
            "evidence": self.evidence, "share": round(self.share),
        })
    }
}

/// What the rules look at.
struct Case<'a> {
    reviewed: &'a Reviewed,
    dependencies: &'a Dependencies,
    config: &'a Config,
    regressions: &'a Regressions,
    now: Instant,
}

/// What `GET /api/performance/report` answers.
pub fn report(
    now: Instant,
    config: &Config,
    profile: &Profile,
    regressions: &Regressions,
    dependencies: &Dependencies,
) -> Value {
    let reviewed = profile.review(now, WINDOW);
    let mut findings = Vec::new();
    if reviewed.answered >= MIN_REQUESTS {
        let case = Case { reviewed: &reviewed, dependencies, config, regressions, now };
        findings.extend(ours::redis(&case));
        findings.extend(ours::embedder(&case));
        findings.extend(ours::disk(&case));
        let explained: Vec<String> = findings.iter().flat_map(|finding| ours::rooms_of(finding.part, &case)).collect();
        findings.extend(ours::other_rooms(&case, &explained));
        findings.extend(backends::suspects(&case));
        if findings.is_empty() {
            findings.extend(backends::usual(&case));
        }
    }
    let recommendations: Vec<&String> = findings.iter().flat_map(|finding| &finding.recommendations).collect();
    json!({
        "window": WINDOW.name(),
        "requests": reviewed.requests,
        "answered": reviewed.answered,
        "duration": reviewed.duration.map(|summary| summary.json()),
        "head": reviewed.head.map(|summary| summary.json()),
        "parts": parts(&reviewed),
        "bottleneck": findings.first().map(Finding::json),
        "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
        "recommendations": recommendations,
    })
}

/// The largest first.
fn parts(reviewed: &Reviewed) -> Vec<Value> {
    let mut parts: Vec<_> = reviewed.parts.iter().collect();
    parts.sort_by(|one, other| time(&other.summary).total_cmp(&time(&one.summary)));
    let told = parts.into_iter().map(|part| {
        json!({
            "name": part.name,
            "kind": if part.is_room { "room" } else { "part" },
            "mean_ms_per_request": millis(time(&part.summary) / reviewed.answered.max(1) as f64),
            "share": round(share_of_whole(reviewed, time(&part.summary))),
            "p95_ms": millis(part.summary.p95),
        })
    });
    told.collect()
}

/// All of it, in seconds.
fn time(summary: &Summary) -> f64 {
    summary.mean * summary.count as f64
}

fn share_of_whole(reviewed: &Reviewed, seconds: f64) -> f64 {
    let whole: f64 = reviewed.parts.iter().map(|part| time(&part.summary)).sum();
    if whole > 0.0 { seconds / whole } else { 0.0 }
}

fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests;
