//! What works, part by part, in one page.
//!
//! A part that is missing degrades the whole, which goes on serving. With no backend to ask it is unhealthy, and answers
//! 503; so it is where memory is about to end, since then it may end at any moment. What is not used is off.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use outrigger_filters::latency::profile::ENOUGH;
use outrigger_filters::store::Health as Store;
use outrigger_filters::windows::Window;
use serde_json::{Value, json};

use super::{Admin, Here, error, json_answer};
use crate::machine::Share;

/// Beyond this share of its memory a process is about to be ended.
const NO_MEMORY: f64 = 0.97;

/// Some of it waits for locks: not on a worker.
pub(super) async fn of_all(State(admin): Here) -> Response {
    match tokio::task::spawn_blocking(move || admin.health()).await {
        Ok(health) => health,
        Err(_) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error("The health could not be summed up.")),
    }
}

impl Admin {
    fn health(&self) -> Response {
        let parts = json!({
            "backends": self.serving().fleet().health(),
            "breaker": self.breaker(),
            "redis": self.redis(),
            "semantic_cache": self.kept_health(),
            "model_file": self.model_file(),
            "gpu": self.gpu.health(),
            "disk": self.disk(),
            "memory": self.memory(),
            "errors": self.errors(),
        });
        let is =
            |status: &str| parts.as_object().is_some_and(|parts| parts.values().any(|part| part["status"] == status));
        let status = match (is("unhealthy"), is("degraded")) {
            (true, _) => "unhealthy",
            (_, true) => "degraded",
            _ => "ok",
        };
        let code = if status == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        json_answer(code, &json!({ "status": status, "parts": parts }))
    }

    fn breaker(&self) -> Value {
        let (down, all) = self.serving().fleet().down();
        match down {
            0 => json!({ "status": "ok", "backends": all, "left_alone": 0 }),
            // None at all is unhealthy, which `backends` says.
            down => json!({
                "status": "degraded", "backends": all, "left_alone": down,
                "reason": format!("{down} of {all} backends are left alone"),
            }),
        }
    }

    fn redis(&self) -> Value {
        match &self.store {
            None => json!({ "status": "off", "reason": "no redis.url is set: limits are this process's own" }),
            Some(store) => match store.health() {
                Store::Up if self.serving().limiter.is_degraded() => json!({
                    "status": "degraded",
                    "reason": "back; the sidecars are telling it what it missed",
                }),
                Store::Up => json!({ "status": "ok", "sidecars": self.serving().limiter.sidecars() }),
                Store::Down { since, reason } => json!({
                    "status": "degraded",
                    "reason": reason.name(),
                    "for_ms": u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
                }),
            },
        }
    }

    fn model_file(&self) -> Value {
        let cache = &self.serving().cache;
        match cache.without_meaning() {
            _ if !cache.wants_a_model() => {
                json!({ "status": "off", "reason": "no semantic_cache.model_path is set" })
            }
            Some(why) => json!({ "status": "degraded", "reason": why }),
            None if cache.has_meaning() => json!({ "status": "ok" }),
            None => json!({ "status": "ok", "reason": "it is being read" }),
        }
    }

    fn disk(&self) -> Value {
        let most = self.serving().config.health.disk_share;
        match self.machine.seen().disk {
            None => json!({ "status": "off", "reason": "nothing is written to a disk" }),
            Some(disk) if disk.share.share() < most => json!({ "status": "ok", "share": round(disk.share) }),
            Some(disk) => json!({
                "status": "degraded", "share": round(disk.share), "folder": disk.folder.display().to_string(),
                "reason": "the disk is nearly full: what is kept there may be lost",
            }),
        }
    }

    fn memory(&self) -> Value {
        let Some(memory) = self.machine.seen().memory else {
            return json!({ "status": "off", "reason": "the machine does not say" });
        };
        let of = if memory.is_our_limit { "our limit" } else { "the machine" };
        let (status, share) = match memory.share.share() {
            // Where the memory is others', to end this process would free nothing.
            share if memory.is_our_limit && share >= NO_MEMORY.max(self.serving().config.health.memory_share) => {
                ("unhealthy", share)
            }
            share if share >= self.serving().config.health.memory_share => ("degraded", share),
            share => return json!({ "status": "ok", "share": thousandths(share), "of": of }),
        };
        json!({ "status": status, "share": thousandths(share), "of": of, "reason": "memory is nearly all taken" })
    }

    fn errors(&self) -> Value {
        let share = self.insight.error_share(Window::One);
        let share = share.filter(|(_, of)| *of >= ENOUGH).map(|(share, _)| share);
        match share {
            None => json!({ "status": "ok", "share": null, "reason": "too few requests in the last minute to tell" }),
            Some(share) if share <= self.serving().config.health.error_rate => {
                json!({ "status": "ok", "share": thousandths(share) })
            }
            Some(share) => json!({
                "status": "degraded", "share": thousandths(share),
                "reason": format!("{:.1} % of the requests of the last minute failed", share * 100.0),
            }),
        }
    }
}

fn round(share: Share) -> f64 {
    thousandths(share.share())
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
