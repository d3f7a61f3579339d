//! The rules for what is ours: Redis, the embedder, the disk, the rooms.

use super::{Case, Finding, percent, share_of_whole, time};
use crate::latency::profile::PartSeen;
use crate::latency::regression::Class;
use crate::windows::{Summary, millis};

const ASK_REDIS: [&str; 3] = ["rate_limit", "semantic_cache", "cost"];
const CACHE: &str = "semantic_cache";
/// The part of a room's 95th percentile that explains it.
const EXPLAINS: f64 = 0.3;
/// Of calls that ran into their timeout, or of questions that found no room.
const MANY: f64 = 0.05;
const NEARLY_FULL: f64 = 0.9;

/// A room that takes more than it may.
struct Abnormal<'a> {
    room: &'a PartSeen,
    share_of_head: f64,
}

impl Abnormal<'_> {
    fn evidence(&self) -> String {
        format!(
            "the room `{}` takes {} ms by itself in one of twenty requests, and {} % of the time until the head",
            self.room.name,
            millis(self.room.summary.p95),
            percent(self.share_of_head)
        )
    }

    fn severity(&self) -> Class {
        match self.share_of_head {
            share if share >= 0.5 => Class::Severe,
            share if share >= 0.2 => Class::Moderate,
            _ => Class::Minor,
        }
    }

    fn is_explained_by(&self, seconds: f64) -> bool {
        seconds >= EXPLAINS * self.room.summary.p95
    }
}

fn abnormal<'a>(case: &Case<'a>) -> Vec<Abnormal<'a>> {
    let head = case.reviewed.head.as_ref().map_or(0.0, time);
    let rooms = case.reviewed.parts.iter().filter(|part| part.is_room && part.summary.p95 > case.reviewed.allowance);
    let shares = rooms.map(|room| Abnormal { room, share_of_head: time(&room.summary) / head.max(1e-9) });
    shares.filter(|room| room.share_of_head >= case.config.allowance_share).collect()
}

/// The rooms whose time a finding explains.
pub fn rooms_of(part: &str, case: &Case<'_>) -> Vec<String> {
    let rooms = abnormal(case).into_iter().map(|abnormal| abnormal.room.name);
    let is_of = |room: &&str| match part {
        "redis" => ASK_REDIS.contains(room),
        "embedder" | "disk" => *room == CACHE,
        _ => false,
    };
    rooms.filter(is_of).map(str::to_owned).collect()
}

/// The finding about what stands behind these rooms.
fn behind(case: &Case<'_>, part: &'static str, rooms: &[Abnormal<'_>], least: Option<Class>) -> Option<Finding> {
    let severity = rooms.iter().map(Abnormal::severity).max().max(least)?;
    let seconds = rooms.iter().map(|abnormal| time(&abnormal.room.summary)).sum();
    Some(Finding {
        part,
        name: part.to_owned(),
        severity,
        share: share_of_whole(case.reviewed, seconds),
        evidence: rooms.iter().map(Abnormal::evidence).collect(),
        recommendations: Vec::new(),
    })
}

fn p95(summary: Option<&Summary>) -> f64 {
    summary.map_or(0.0, |summary| summary.p95)
}

pub fn redis(case: &Case<'_>) -> Option<Finding> {
    let redis = case.dependencies.redis.as_ref()?;
    let calls = redis.calls.map_or(0, |calls| calls.count).max(redis.timeouts);
    let timeouts = redis.timeouts as f64 / calls.max(1) as f64;
    let is_cut_off = timeouts >= MANY;
    // A call that was cut off took its timeout, whatever Redis would have taken.
    let took = p95(redis.calls.as_ref()).max(if is_cut_off { redis.timeout_ms / 1000.0 } else { 0.0 });
    let mut rooms = abnormal(case);
    rooms.retain(|abnormal| ASK_REDIS.contains(&abnormal.room.name) && abnormal.is_explained_by(took));
    let mut finding = behind(case, "redis", &rooms, is_cut_off.then_some(Class::Minor))?;
    if let Some(calls) = &redis.calls {
        let (half, most) = (millis(calls.p50), millis(calls.p95));
        finding
            .evidence
            .push(format!("calls to Redis take {half} ms at the median and {most} ms at the 95th percentile"));
    }
    if redis.timeouts > 0 {
        finding.evidence.push(format!(
            "{} of {calls} calls ({} %) ran into the timeout of {} ms",
            redis.timeouts,
            percent(timeouts),
            redis.timeout_ms
        ));
        finding.recommendations.push(
            "Redis is slow: look at its slow log and the network to it; until then `redis.timeout_ms` bounds what a \
             request waits, and a lower one costs exactness of limits and hits that others have made"
                .into(),
        );
    } else {
        finding.recommendations.push(
            "Redis is slow: look at its slow log and the network to it, or lower `redis.timeout_ms`, so that requests \
             are decided without it sooner"
                .into(),
        );
    }
    if redis.errors > 0 {
        finding.evidence.push(format!("{} calls failed otherwise", redis.errors));
    }
    Some(finding)
}

pub fn embedder(case: &Case<'_>) -> Option<Finding> {
    let embedder = case.dependencies.embedder.as_ref()?;
    let is_full = embedder.queue_limit > 0 && embedder.waiting as f64 >= NEARLY_FULL * embedder.queue_limit as f64;
    let refuses = embedder.refused_share >= MANY;
    let took = p95(embedder.wait.as_ref()) + p95(embedder.run.as_ref());
    let mut rooms = abnormal(case);
    rooms.retain(|abnormal| abnormal.room.name == CACHE && abnormal.is_explained_by(took));
    let mut finding = behind(case, "embedder", &rooms, (is_full || refuses).then_some(Class::Moderate))?;
    finding
        .evidence
        .push(format!("{} questions of at most {} wait for it now", embedder.waiting, embedder.queue_limit));
    if let Some((wait, run)) = embedder.wait.as_ref().zip(embedder.run.as_ref()) {
        let (wait, run) = (millis(wait.p95), millis(run.p95));
        finding
            .evidence
            .push(format!("at the 95th percentile a question waits {wait} ms for it, and it runs {run} ms"));
    }
    if refuses {
        finding.evidence.push(format!("{} % of the questions found no room", percent(embedder.refused_share)));
    }
    finding.recommendations.push(
        "the embedder has more to do than it can: give it more cores or a smaller model, or set \
         `semantic_cache.mode = \"exact\"` where like questions are rare"
            .into(),
    );
    Some(finding)
}

pub fn disk(case: &Case<'_>) -> Option<Finding> {
    let took = p95(case.dependencies.disk.as_ref()?.calls.as_ref());
    let mut rooms = abnormal(case);
    rooms.retain(|abnormal| abnormal.room.name == CACHE && abnormal.is_explained_by(took));
    let mut finding = behind(case, "disk", &rooms, None)?;
    finding.evidence.push(format!("reads of kept answers take {} ms at the 95th percentile", millis(took)));
    finding.recommendations.push(
        "the disk of kept answers is slow: put `semantic_cache.disk_path` on a faster one, or raise \
         `semantic_cache.memory_bytes`"
            .into(),
    );
    Some(finding)
}

/// Those that nothing else explains; the largest first.
pub fn other_rooms(case: &Case<'_>, explained: &[String]) -> Vec<Finding> {
    let mut rooms = abnormal(case);
    rooms.retain(|abnormal| !explained.iter().any(|name| name == abnormal.room.name));
    rooms.sort_by(|one, other| other.share_of_head.total_cmp(&one.share_of_head));
    let told = rooms.into_iter().map(|abnormal| Finding {
        part: "room",
        name: abnormal.room.name.to_owned(),
        severity: abnormal.severity(),
        share: share_of_whole(case.reviewed, time(&abnormal.room.summary)),
        evidence: vec![abnormal.evidence()],
        recommendations: vec![advice(abnormal.room.name).to_owned()],
    });
    told.collect()
}

fn advice(room: &str) -> &'static str {
    match room {
        "breaker" => {
            "requests wait for a place at a backend or for a repetition: add backends for the model, raise \
             `breaker.admission.max_limit` if they can take more, or lower `breaker.admission.queue_timeout_ms`"
        }
        "semantic_cache" => {
            "looking for kept answers takes long: `semantic_cache.load_wait_ms` bounds the wait for what other \
             sidecars know, `semantic_cache.mode = \"exact\"` spares the search by meaning"
        }
        "rate_limit" => {
            "counting tokens of long prompts takes long: see `GET /api/performance/slow` for which they are"
        }
        "cost" => "keeping the books takes long: see whether the disk under `cost.ledger_path` is slow",
        _ => "it waits for nothing outside: see whether the process has enough CPU (`cpu_share` in `[[alerts.rules]]`)",
    }
}
