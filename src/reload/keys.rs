//! Which keys a running process can change, and why it cannot change the others. Each key stands here in one of the two.

use crate::config::Config;

/// Keys, and beginnings of keys, that take effect at once for what begins after the reload.
const LIVE: &[&str] = &[
    "server.admin_hosts",
    "server.max_body_bytes",
    "server.head_timeout_ms",
    "server.body_timeout_ms",
    "server.write_timeout_ms",
    "server.passed",
    "server.forwarded_headers",
    "server.tls_cert",
    "server.tls_key",
    "server.drain_secs",
    "server.upgrade_drain_secs",
    "tenants",
    "backends",
    "dedup",
    "rate_limit.guard",
    "rate_limit.limits",
    "semantic_cache.mode",
    "semantic_cache.ttl_secs",
    "semantic_cache.max_ttl_secs",
    "semantic_cache.volatile_ttl_secs",
    "semantic_cache.stale_while_revalidate_secs",
    "semantic_cache.stale_if_error_secs",
    "semantic_cache.max_temperature",
    "semantic_cache.threshold",
    "semantic_cache.similarity_header",
    "semantic_cache.show_text",
    "semantic_cache.scopes",
    "breaker",
    "cost.prices",
    "cost.price",
    "cost.unpriced",
    "cost.budgets",
    "cost.advice.min_saving_usd",
    "cost.advice.cheaper_models",
    "latency.profile",
    "latency.slow_kept",
    "latency.allowance_ms",
    "latency.allowance_share",
    "latency.minor",
    "latency.moderate",
    "latency.severe",
    "latency.baseline_half_life_secs",
    "latency.baseline_min_samples",
    "latency.adopt_after_secs",
    "alerts",
    "health",
    "telemetry.log_level",
    "telemetry.log_secrets",
    "telemetry.access_log",
    "telemetry.sample_ratio",
    "telemetry.trust_parent",
];

const SOCKETS: &str = "listening sockets are opened at the start; takes an upgrade or a restart";
const CONNECTIONS: &str = "it is told to each connection by the listener, which is opened at the start";
const WORKERS: &str = "threads are made at the start";
const REDIS: &str = "the connections to Redis are made at the start";
const FILES: &str = "files are opened at the start, and must not change hands while they are written";
const LEDGER: &str = "the ledger's thread is started with it";
const ROOM: &str = "memory and disk are laid out at the start";
const MODEL: &str = "the embedding model is read at the start, with its index";
const LEASES: &str = "what is reserved already is renewed by it";
const READ_ONCE: &str = "tokenizers are read at the start";
const EXPORTERS: &str = "exporters and instruments are made at the start";
const ADVISER: &str = "the thread that reads samples is started with it";
const PROBES: &str = "the threads that read GPUs are started with it";
const CALENDAR: &str = "the periods that money was spent in would begin at other times";

/// Keys, and beginnings of keys, that take a restart, and why.
const FIXED: &[(&str, &str)] = &[
    ("server.listen", SOCKETS),
    ("server.admin", SOCKETS),
    ("server.threads", WORKERS),
    ("server.upgrade_socket", SOCKETS),
    ("gpu", PROBES),
    ("server.max_head_bytes", CONNECTIONS),
    ("server.idle_timeout_secs", CONNECTIONS),
    ("server.max_streams", CONNECTIONS),
    ("redis", REDIS),
    ("tokenizers", READ_ONCE),
    ("rate_limit.max_keys", ROOM),
    ("rate_limit.reservation_secs", LEASES),
    ("semantic_cache.max_entry_bytes", ROOM),
    ("semantic_cache.memory_bytes", ROOM),
    ("semantic_cache.disk_path", FILES),
    ("semantic_cache.disk_bytes", ROOM),
    ("semantic_cache.redis", REDIS),
    ("semantic_cache.load_wait_ms", REDIS),
    ("semantic_cache.max_entries", ROOM),
    ("semantic_cache.model_path", MODEL),
    ("semantic_cache.runtime_path", MODEL),
    ("semantic_cache.gate_path", MODEL),
    ("semantic_cache.gate_threshold", MODEL),
    ("semantic_cache.sessions", MODEL),
    ("semantic_cache.queue", MODEL),
    ("semantic_cache.batch", MODEL),
    ("semantic_cache.deadline_ms", MODEL),
    ("semantic_cache.languages", MODEL),
    ("cost.time_zone", CALENDAR),
    ("cost.ledger_path", FILES),
    ("cost.ledger_flush_ms", LEDGER),
    ("cost.ledger_memory_calls", LEDGER),
    ("cost.keep_calls_days", LEDGER),
    ("cost.keep_minutes_days", LEDGER),
    ("cost.keep_hours_days", LEDGER),
    ("cost.reservation_secs", LEASES),
    ("cost.advice.enabled", ADVISER),
    ("cost.advice.window_secs", ADVISER),
    ("latency.baseline_path", FILES),
    ("telemetry.log_format", "the log is opened at the start"),
    ("telemetry.metrics", EXPORTERS),
    ("telemetry.otlp_endpoint", EXPORTERS),
    ("telemetry.otlp_protocol", EXPORTERS),
    ("telemetry.otlp_timeout_ms", EXPORTERS),
    ("telemetry.otlp_queue", EXPORTERS),
    ("telemetry.metrics_interval_secs", EXPORTERS),
    ("telemetry.service_name", EXPORTERS),
];

const NEW: &str = "this version does not know how to change it while it runs";

/// A key that keeps its value until a restart, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// As a person would name it.
    pub key: String,
    /// What keeps its old value: the key, or the list that it stands in.
    pub kept: String,
    pub why: &'static str,
}

/// Why a key cannot be changed; none where it can.
fn fixed(key: &str) -> Option<&'static str> {
    match FIXED.iter().find(|(beginning, _)| is_below(key, beginning)) {
        Some((_, why)) => Some(why),
        None if is_live(key) => None,
        None => Some(NEW),
    }
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|beginning| is_below(key, beginning))
}

fn is_below(key: &str, beginning: &str) -> bool {
    key.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Of the keys that have changed, those that cannot while the process runs.
pub fn refused(changed: &[String], before: &Config, after: &Config) -> Vec<Refused> {
    let not_now = of_this_change(before, after);
    let refused = |key: &String| {
        if let Some(why) = fixed(key) {
            // All that is fixed stands in tables, but for the list of tokenizers.
            return Some(Refused { key: key.clone(), kept: key.clone(), why });
        }
        let (kept, why) = not_now.iter().find(|(beginning, _)| is_below(key, beginning))?;
        Some(Refused { key: key.clone(), kept: (*kept).to_owned(), why })
    };
    changed.iter().filter_map(refused).collect()
}

/// What can be changed in general, and not from these settings to those.
fn of_this_change(before: &Config, after: &Config) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if before.server.tls_cert.is_some() != after.server.tls_cert.is_some() {
        let why = "whether TLS is spoken is settled when the listener is opened, at the start";
        found.extend([("server.tls_cert", why), ("server.tls_key", why)]);
    }
    let spans = |config: &Config| config.rate_limit.spans_tenants();
    if before.redis.url.is_some() && spans(before) != spans(after) {
        found.push((
            "rate_limit.limits",
            "the first limit that counts tenants together, and the end of the last, move all accounts in Redis",
        ));
    }
    let wants = |config: &Config| config.semantic_cache.wants_meaning();
    if after.semantic_cache.model_path.is_some() && wants(after) && !wants(before) {
        found.extend([("semantic_cache.mode", MODEL), ("semantic_cache.scopes", MODEL)]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key that the example file shows, those in its comments too.
    fn all_keys() -> Vec<String> {
        let (mut table, mut keys) = (String::new(), Vec::new());
        for line in include_str!("../../config/outrigger.toml").lines() {
            let line = line.trim_start_matches("# ").trim();
            if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.split(']').next()) {
                table = name.to_owned();
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = name.to_owned();
            } else if let Some((key, _)) = line.split_once(" = ")
                && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            {
                keys.push(format!("{table}.{key}"));
            }
        }
        keys
    }

    #[test]
    fn every_key_is_in_exactly_one_of_the_two_classes() {
        let keys = all_keys();
        assert!(keys.len() > 150, "the example file shows every key: {} were found", keys.len());
        for key in keys {
            let live = LIVE.iter().filter(|beginning| is_below(&key, beginning)).count();
            let fixed = FIXED.iter().filter(|(beginning, _)| is_below(&key, beginning)).count();
            assert_eq!(
                live + fixed,
                1,
                "`{key}`: it is {live} times among what can be changed, {fixed} among what not"
            );
        }
    }

    #[test]
    fn no_key_is_spoken_of_that_there_is_not() {
        let keys = all_keys();
        let spoken = LIVE.iter().chain(FIXED.iter().map(|(key, _)| key));
        for beginning in spoken {
            assert!(keys.iter().any(|key| is_below(key, beginning)), "there is no key `{beginning}`");
        }
    }
}
