//! A record of a request into spans, by the OpenTelemetry conventions for generative AI.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use outrigger_filters::charge::{Charge, Source};
use outrigger_filters::labels::{self, OTHER};
use outrigger_filters::trace::{Called, Outcome, Record, Seen, Span};

/// A backend as spans name it.
#[derive(Clone)]
pub struct Server {
    pub name: Box<str>,
    pub address: Box<str>,
    pub port: u16,
}

pub fn of(record: &Record, servers: &[Server], scope: &InstrumentationScope) -> Vec<SpanData> {
    let made = Making { record, servers, scope };
    let mut spans = Vec::with_capacity(record.spans.len() + 1);
    spans.push(made.request());
    spans.extend(record.spans.iter().map(|span| match span.called.as_deref() {
        Some(called) => made.call(span, called),
        None => made.room(span),
    }));
    spans
}

struct Making<'parts> {
    record: &'parts Record,
    servers: &'parts [Server],
    scope: &'parts InstrumentationScope,
}

impl Making<'_> {
    fn request(&self) -> SpanData {
        let record = self.record;
        let lost = Seen { error: Some("internal_error"), ..Seen::default() };
        let seen = record.seen.as_ref().unwrap_or(&lost);
        let mut attributes = vec![KeyValue::new("outrigger.request.id", seen.request_id.to_string())];
        let mut put = |key: &'static str, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(key, value)));
        };
        let (method, path) = way_in(seen);
        put("http.request.method", method.map(Value::from));
        put("http.route", path.map(text));
        put("http.response.status_code", (seen.status > 0).then(|| i64::from(seen.status).into()));
        put("gen_ai.operation.name", seen.route.map(|route| route.operation().into()));
        put("gen_ai.provider.name", seen.route.map(|route| route.provider().into()));
        put("gen_ai.request.model", known(seen.model.as_ref()));
        put("gen_ai.request.stream", seen.route.map(|_| seen.streams.into()));
        put("gen_ai.response.time_to_first_chunk", seen.first_token.map(seconds));
        put("error.type", seen.error.map(Value::from));
        put("outrigger.tenant", seen.tenant.map(|tenant| tenant.to_string().into()));
        put("outrigger.cache", seen.cache.map(Value::from));
        put("outrigger.dedup", seen.dedup.map(Value::from));
        usage(seen.charge.as_ref(), &mut attributes);
        let name = match (seen.route, known(seen.model.as_ref())) {
            (Some(route), Some(model)) => format!("{} {model}", route.operation()).into(),
            (Some(route), None) => route.operation().into(),
            (None, _) => "request".into(),
        };
        SpanData {
            span_context: record.context.clone(),
            parent_span_id: record.parent,
            parent_span_is_remote: record.parent != opentelemetry::trace::SpanId::INVALID,
            span_kind: SpanKind::Server,
            name,
            status: server_status(seen),
            links: self.links(),
            ..self.blank(Duration::ZERO, record.took, attributes)
        }
    }

    fn room(&self, span: &Span) -> SpanData {
        let error = match span.outcome {
            Outcome::Refused(reason) => Some(KeyValue::new("error.type", reason)),
            Outcome::LetGo => Some(KeyValue::new("error.type", "abandoned")),
            Outcome::Answered(_) => None,
        };
        SpanData {
            parent_span_id: span.parent,
            name: span.name.into(),
            ..self.child(span, SpanKind::Internal, error.into_iter().collect())
        }
    }

    fn call(&self, span: &Span, called: &Called) -> SpanData {
        let seen = self.record.seen.as_ref();
        let route = seen.and_then(|seen| seen.route);
        let server = self.servers.get(called.backend);
        let mut attributes = Vec::with_capacity(12);
        let mut put = |key: &'static str, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(key, value)));
        };
        let status = match span.outcome {
            Outcome::Answered(status) => Some(status),
            _ => None,
        };
        let error = called.error.or(match span.outcome {
            Outcome::Refused(reason) => Some(reason),
            Outcome::LetGo => Some("abandoned"),
            Outcome::Answered(status) => (status >= 400).then(|| labels::status(status)),
        });
        put("gen_ai.operation.name", route.map(|route| route.operation().into()));
        put("gen_ai.provider.name", route.map(|route| route.provider().into()));
        put("gen_ai.request.model", known(called.model.as_ref()));
        put("gen_ai.request.stream", Some(called.streams.into()));
        put("gen_ai.response.time_to_first_chunk", called.first_chunk.map(seconds));
        put("http.response.status_code", status.map(|status| i64::from(status).into()));
        put("server.address", server.map(|server| text(&server.address)));
        put("server.port", server.map(|server| i64::from(server.port).into()));
        put("error.type", error.map(Value::from));
        put("outrigger.backend", server.map(|server| text(&server.name)));
        put("outrigger.attempt", Some(i64::from(called.attempt).into()));
        put("outrigger.chunks", called.streams.then(|| i64::from(called.chunks).into()));
        if let Some(told) = &called.told {
            put("gen_ai.request.max_tokens", told.max_tokens.map(count));
            put("gen_ai.request.temperature", told.temperature.map(Value::from));
            put("gen_ai.request.choice.count", told.choices.filter(|choices| *choices != 1).map(count));
            put("gen_ai.response.id", told.said.id.as_deref().map(text));
            put("gen_ai.response.model", told.said.model.as_deref().map(text));
            let reasons = &told.said.finish_reasons;
            let reasons =
                (!reasons.is_empty()).then(|| reasons.iter().map(|reason| StringValue::from(*reason)).collect());
            put("gen_ai.response.finish_reasons", reasons.map(|reasons| Value::Array(Array::String(reasons))));
        }
        usage(called.charge.as_ref(), &mut attributes);
        let operation = route.map_or("chat", |route| route.operation());
        SpanData {
            parent_span_id: span.parent,
            name: known(called.model.as_ref())
                .map_or_else(|| operation.into(), |model| format!("{operation} {model}").into()),
            status: error.map_or(Status::Unset, Status::error),
            ..self.child(span, SpanKind::Client, attributes)
        }
    }

    fn child(&self, span: &Span, kind: SpanKind, attributes: Vec<KeyValue>) -> SpanData {
        let context = &self.record.context;
        SpanData {
            span_context: SpanContext::new(context.trace_id(), span.id, context.trace_flags(), false, TraceState::NONE),
            span_kind: kind,
            ..self.blank(span.began, span.began + span.took.unwrap_or_default(), attributes)
        }
    }

    /// A span from then to then, since the request began.
    fn blank(&self, from: Duration, to: Duration, attributes: Vec<KeyValue>) -> SpanData {
        let at = |since: Duration| self.record.began.checked_add(since).unwrap_or(self.record.began);
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: opentelemetry::trace::SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "".into(),
            start_time: at(from),
            end_time: at(to),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// To the request whose answer this one shared.
    fn links(&self) -> SpanLinks {
        let mut links = SpanLinks::default();
        if let Some(to) = self.record.link {
            let flags = to.flags & TraceFlags::SAMPLED;
            let context = SpanContext::new(to.trace, to.span, flags, false, TraceState::NONE);
            links.links.push(Link::new(context, vec![KeyValue::new("outrigger.link", "leader")], 0));
        }
        links
    }
}

/// The method and the path, as the settings and the APIs have them: nothing that a client wrote.
pub fn way_in(seen: &Seen) -> (Option<String>, Option<&str>) {
    match (seen.route, seen.passed.as_deref().and_then(|pattern| pattern.split_once(' '))) {
        (Some(route), _) => (Some("POST".to_owned()), Some(route.path())),
        (None, Some((method, path))) => ((method != "*").then(|| method.to_owned()), Some(path)),
        (None, None) => (None, None),
    }
}

/// By the conventions a client's own fault, or its leaving, is no error of the server's.
fn server_status(seen: &Seen) -> Status {
    match seen.error {
        Some("abandoned" | "client_too_slow") => Status::Unset,
        Some(error) if seen.status >= 500 || seen.status == 0 || seen.status < 400 => Status::error(error),
        _ => Status::Unset,
    }
}

/// What was used, in the backend's own words: a guess is not told.
fn usage(charge: Option<&Charge>, attributes: &mut Vec<KeyValue>) {
    let Some(charged) = charge.and_then(Charge::get).filter(|charged| charged.source == Source::Measured) else {
        return;
    };
    let tokens = &charged.tokens;
    let always = [("gen_ai.usage.input_tokens", tokens.input), ("gen_ai.usage.output_tokens", tokens.output)];
    let where_any = [
        ("gen_ai.usage.cache_read.input_tokens", tokens.cached_input),
        ("gen_ai.usage.cache_creation.input_tokens", tokens.cache_writes),
        ("gen_ai.usage.reasoning.output_tokens", tokens.reasoning),
    ];
    let counts = always.into_iter().chain(where_any.into_iter().filter(|(_, count)| *count > 0));
    attributes.extend(counts.map(|(key, count)| KeyValue::new(key, i64::try_from(count).unwrap_or(i64::MAX))));
    if let Some(cost) = charged.cost {
        attributes.push(KeyValue::new("outrigger.cost_usd", cost.usd()));
    }
}

fn known(model: Option<&Arc<str>>) -> Option<Value> {
    model.filter(|model| &***model != OTHER).map(|model| text(model))
}

fn count(count: u64) -> Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

fn text(text: &str) -> Value {
    text.to_owned().into()
}

fn seconds(time: Duration) -> Value {
    time.as_secs_f64().into()
}

#[cfg(test)]
mod tests;
