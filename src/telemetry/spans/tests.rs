use std::sync::Mutex;

use opentelemetry::trace::{SpanId, TraceId};
use outrigger_filters::Route;
use outrigger_filters::charge::Charged;
use outrigger_filters::trace::{Place, Sink, Trace};
use outrigger_filters::usage::Tokens;

use super::*;

#[derive(Default)]
struct Kept(Mutex<Vec<Record>>);

impl Sink for Kept {
    fn take(&self, record: Record) {
        self.0.lock().unwrap().push(record);
    }
}

fn record(tell: impl FnOnce(&Trace)) -> Record {
    let kept = Arc::new(Kept::default());
    let trace = Trace::begin(TraceId::from(5), SpanId::INVALID, Some(TraceFlags::SAMPLED), kept.clone());
    tell(&trace);
    drop(trace);
    kept.0.lock().unwrap().pop().expect("a record")
}

fn spoken(record: &Record) -> Vec<SpanData> {
    of(record, &[], &InstrumentationScope::builder("test").build())
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|told| told.key.as_str() == key).map(|told| told.value.to_string())
}

#[test]
fn what_passes_is_told_by_its_pattern() {
    let record = record(|trace| trace.answered(Seen { passed: Some("GET /v1/models/*".into()), ..Seen::default() }));
    let server = spoken(&record).remove(0);
    assert_eq!(attribute(&server, "http.request.method").as_deref(), Some("GET"));
    assert_eq!(attribute(&server, "http.route").as_deref(), Some("/v1/models/*"));
}

#[test]
fn a_guess_is_not_told_as_usage() {
    let tokens = Tokens { input: 7, output: 9, reasoning: 2, ..Tokens::default() };
    let told = |source| {
        let charge = Charge::known(Charged { tokens, cost: None, source });
        let record = record(|trace| {
            trace.answered(Seen {
                route: Some(Route::ChatCompletions),
                status: 200,
                charge: Some(charge),
                ..Seen::default()
            });
        });
        let server = spoken(&record).remove(0);
        ["input_tokens", "output_tokens", "reasoning.output_tokens", "cache_read.input_tokens"]
            .map(|kind| attribute(&server, &format!("gen_ai.usage.{kind}")))
    };
    let said = |count: &str| Some(count.to_owned());
    assert_eq!(told(Source::Measured), [said("7"), said("9"), said("2"), None]);
    assert_eq!(told(Source::Estimated), [None, None, None, None]);
}

#[test]
fn a_clients_own_fault_is_no_error_of_the_servers() {
    let status = |status, error| {
        let record = record(|trace| trace.answered(Seen { status, error, ..Seen::default() }));
        matches!(spoken(&record)[0].status, Status::Error { .. })
    };
    assert!(!status(400, Some("bad_request")) && !status(200, None));
    assert!(!status(0, Some("abandoned")) && !status(200, Some("client_too_slow")));
    assert!(status(503, Some("503")) && status(200, Some("backend_cut")));
}

#[test]
fn what_was_lost_inside_is_told_as_an_error() {
    let server = spoken(&record(|_| {})).remove(0);
    assert_eq!(attribute(&server, "error.type").as_deref(), Some("internal_error"));
    assert!(matches!(server.status, Status::Error { .. }));
}

#[test]
fn who_shares_an_answer_points_to_whose_it_is() {
    let to = Place { trace: TraceId::from(8), span: SpanId::from(9), flags: TraceFlags::SAMPLED, is_continued: false };
    let server = spoken(&record(|trace| trace.link(to))).remove(0);
    let link = server.links.links.first().expect("a link");
    assert_eq!((link.span_context.trace_id(), link.span_context.span_id()), (to.trace, to.span));
}
