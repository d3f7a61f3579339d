//! One line a request: what came of it, for whom, and where its time went.

use outrigger_filters::charge::Source;
use outrigger_filters::filter::BACKEND;
use outrigger_filters::latency::profile::own;
use outrigger_filters::trace::{Record, Seen, Span};

use super::spans::Server;

/// The target of the lines, to tell them apart and to turn them off by.
const TARGET: &str = "outrigger::access";

pub fn tell(record: &Record, servers: &[Server]) {
    let lost = Seen { error: Some("internal_error"), ..Seen::default() };
    let seen = record.seen.as_ref().unwrap_or(&lost);
    let calls = || record.spans.iter().filter_map(|span| span.called.as_deref());
    let last = calls().next_back();
    let charged = seen.charge.as_ref().and_then(|charge| charge.get());
    let measured = charged.filter(|charged| charged.source == Source::Measured);
    let rooms = record.spans.iter().filter(|span| span.name != BACKEND);
    let own_millis = |span: &Span| own(span, &record.spans).as_secs_f64() * 1e3;
    let rooms: Vec<String> = rooms.map(|span| format!("{}={:.3}", span.name, own_millis(span))).collect();
    tracing::info!(
        target: TARGET,
        request_id = &*seen.request_id,
        trace_id = record.context.is_sampled().then(|| record.context.trace_id().to_string()),
        tenant = seen.tenant.map(|tenant| tenant.to_string()),
        route = seen.route.map(|route| route.path()).or(seen.passed.as_deref()),
        model = seen.model.as_deref(),
        stream = seen.streams,
        status = seen.status,
        error = seen.error,
        duration_ms = millis(record.took),
        first_token_ms = seen.first_token.map(millis),
        per_token_ms = seen.per_token.map(millis),
        backend = last.and_then(|call| servers.get(call.backend)).map(|server| &*server.name),
        backend_ms = record.spans.iter().rfind(|span| span.called.is_some()).and_then(|span| span.took).map(millis),
        attempts = calls().count(),
        cache = seen.cache,
        dedup = seen.dedup,
        input_tokens = measured.map(|charged| charged.tokens.input),
        output_tokens = measured.map(|charged| charged.tokens.output),
        cost_usd = charged.and_then(|charged| charged.cost).map(|cost| cost.to_string()),
        request_bytes = seen.request_bytes,
        answer_bytes = seen.answer_bytes,
        rooms_ms = rooms.join(" "),
        "request"
    );
}

fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
