use std::sync::mpsc;

use async_trait::async_trait;
use futures::StreamExt;
use http::StatusCode;

use super::*;
use crate::filter::BACKEND;
use crate::latency::Latency;
use crate::testing::{Script, Scripted, Step, ask};
use crate::{Ask, Body, Broken, Chain, Filter, Next, Reason, Refusal, Reply};

/// Keeps what it is given.
struct Kept(Mutex<mpsc::Sender<Record>>);

impl Sink for Kept {
    fn take(&self, record: Record) {
        self.0.lock().unwrap().send(record).unwrap();
    }
}

fn sink() -> (Arc<dyn Sink>, mpsc::Receiver<Record>) {
    let (sender, receiver) = mpsc::channel();
    (Arc::new(Kept(Mutex::new(sender))), receiver)
}

fn begin(flags: Option<TraceFlags>, sink: Arc<dyn Sink>) -> Trace {
    Trace::begin(TraceId::from(7), SpanId::INVALID, flags, sink)
}

/// Calls on until an answer is good.
struct Stubborn;

#[async_trait]
impl Filter for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }

    async fn handle(&self, ask: Arc<Ask>, next: Next) -> Result<Reply, Refusal> {
        loop {
            if let Ok(reply) = next.clone().run(ask.clone()).await {
                return Ok(reply);
            }
        }
    }
}

fn chain(scripts: impl IntoIterator<Item = Script>) -> Chain {
    let meter = opentelemetry::global::meter("test");
    let latency = Latency::new(&meter);
    Chain::new(vec![Arc::new(Stubborn), Arc::new(latency)], Arc::new(Scripted::new(scripts)), &meter)
}

fn question() -> Arc<Ask> {
    Arc::new(ask(r#"{"model":"m","stream":true}"#))
}

fn stream() -> Script {
    let wait = || Step::Wait(Duration::from_millis(100));
    Script::Stream(vec![wait(), Step::Data("a"), wait(), Step::Data("b"), wait(), Step::Data("[DONE]")])
}

const SAMPLED: Option<TraceFlags> = Some(TraceFlags::SAMPLED);

#[tokio::test(start_paused = true)]
async fn each_room_and_each_call_has_its_span_under_that_of_its_caller() {
    let (sink, records) = sink();
    let trace = Trace::begin(TraceId::from(7), SpanId::from(9), SAMPLED, sink);
    let fails = Script::Late(Duration::from_millis(30), Box::new(Script::Refuse(Reason::Unreachable)));
    let reply = chain([fails, stream()]).run_traced(question(), trace.clone()).await.unwrap();
    let Body::Events(mut events) = reply.body else { panic!("a stream") };
    while events.next().await.is_some() {}
    drop(events);
    drop(trace);
    let record = records.try_recv().expect("all hands have let go");
    assert_eq!((record.context.trace_id(), record.parent), (TraceId::from(7), SpanId::from(9)));
    let named = |span: &Span| (span.name, record.spans.iter().position(|above| above.id == span.parent), span.outcome);
    let good = Outcome::Answered(200);
    let bad = Outcome::Refused("backend_unreachable");
    assert_eq!(
        record.spans.iter().map(named).collect::<Vec<_>>(),
        [
            ("stubborn", None, good),
            ("latency", Some(0), bad),
            (BACKEND, Some(1), bad),
            ("latency", Some(0), good),
            (BACKEND, Some(3), good)
        ]
    );
    assert_eq!(record.spans[0].parent, record.context.span_id());
    let millis = |time: Duration| time.as_millis();
    let took: Vec<_> = record.spans.iter().map(|span| (millis(span.began), millis(span.took.unwrap()))).collect();
    assert_eq!(took, [(0, 30), (0, 30), (0, 30), (30, 0), (30, 300)], "a room until the head, a call until its end");
    let called = record.spans[4].called.as_deref().unwrap();
    assert_eq!((called.first_chunk.map(millis), called.last_chunk.map(millis)), (Some(100), Some(200)));
    assert_eq!((called.chunks, called.error, called.model.as_deref()), (2, None, Some("m")));
    assert_eq!(record.spans[2].called.as_deref().unwrap().error, Some("backend_unreachable"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_while_anybody_may_add_to_it() {
    let (sink, records) = sink();
    let trace = begin(SAMPLED, sink);
    let reply = chain([stream()]).run_traced(question(), trace.clone()).await.unwrap();
    drop(trace);
    assert!(records.try_recv().is_err(), "the answer still goes by");
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(reply);
    let record = records.try_recv().unwrap();
    let call = record.spans.last().unwrap();
    assert_eq!(call.called.as_deref().unwrap().error, Some("abandoned"));
    assert!(call.took.unwrap() >= Duration::from_secs(1), "it was on until it was let go");
}

#[tokio::test(start_paused = true)]
async fn who_is_let_go_early_says_when() {
    let (sink, records) = sink();
    let trace = begin(SAMPLED, sink);
    let script = Script::late(Duration::from_secs(60), "{}");
    let chain = chain([script]);
    let run = chain.run_traced(question(), trace.clone());
    assert!(tokio::time::timeout(Duration::from_secs(2), run).await.is_err());
    tokio::time::advance(Duration::from_secs(5)).await;
    drop(trace);
    let record = records.try_recv().unwrap();
    for span in &record.spans {
        assert_eq!((span.outcome, span.took.unwrap().as_secs()), (Outcome::LetGo, 2), "{}", span.name);
    }
    assert_eq!(record.took.as_secs(), 7);
    assert!(record.seen.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_tried_for_ever_does_not_fill_memory() {
    let (sink, records) = sink();
    let trace = begin(SAMPLED, sink);
    let mut scripts = vec![Script::Refuse(Reason::Unreachable); 1000];
    scripts.push(Script::Whole(StatusCode::OK, "{}"));
    chain(scripts).run_traced(question(), trace.clone()).await.unwrap();
    drop(trace);
    assert_eq!(records.try_recv().unwrap().spans.len(), MAX_SPANS);
}

#[tokio::test(start_paused = true)]
async fn a_broken_answer_says_how() {
    let (sink, records) = sink();
    let trace = begin(None, sink);
    assert_eq!(trace.place(trace.span()), None, "nobody is told of spans");
    let script = Script::Stream(vec![Step::Data("a"), Step::Break(Broken::BackendCut)]);
    let reply = chain([script]).run_traced(question(), trace.clone()).await.unwrap();
    let Body::Events(mut events) = reply.body else { panic!("a stream") };
    while events.next().await.is_some() {}
    drop(trace);
    drop(events);
    let record = records.try_recv().unwrap();
    assert_eq!(record.spans.last().unwrap().called.as_deref().unwrap().error, Some("backend_cut"));
    assert!(!record.context.is_sampled());
}

#[test]
fn a_place_reads_as_the_standard_writes_it() {
    let place = Place {
        trace: TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        span: SpanId::from_hex("00f067aa0ba902b7").unwrap(),
        flags: TraceFlags::SAMPLED,
        is_continued: false,
    };
    assert_eq!(place.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
}
