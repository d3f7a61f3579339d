//! Where a request stands among the traces of others: W3C's Trace Context, in and out, and which are sampled.

use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};
use outrigger_filters::trace::{Place, Trace};

use super::Desk;
use crate::config::Telemetry;

const TRACEPARENT: &str = "traceparent";

/// Begins what is told of a request.
#[derive(Clone)]
pub struct Telling {
    desk: Arc<Desk>,
    /// None where nobody is told of spans: then a request's context is handed on as it came.
    sampler: Option<Sampler>,
    trusts_parent: bool,
}

impl Telling {
    pub fn new(config: &Telemetry, desk: Arc<Desk>) -> Self {
        let sampler = config.exports().then(|| match config.sample_ratio {
            ratio if ratio >= 1.0 => Sampler::AlwaysOn,
            ratio if ratio <= 0.0 => Sampler::AlwaysOff,
            ratio => Sampler::TraceIdRatioBased(ratio),
        });
        Telling { desk, sampler, trusts_parent: config.trust_parent }
    }

    pub fn begin(&self, headers: &HeaderMap) -> Trace {
        let Some(sampler) = &self.sampler else {
            return Trace::begin(new_trace(), SpanId::INVALID, None, self.desk.clone());
        };
        // A stranger neither decides what is sampled nor writes into anybody's trace.
        let parent = parent(headers).filter(|_| self.trusts_parent);
        let id = parent.map_or_else(new_trace, |parent| parent.trace);
        let sampled = match parent {
            Some(parent) => parent.flags.is_sampled(),
            None => {
                sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]).decision
                    == SamplingDecision::RecordAndSample
            }
        };
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        Trace::begin(id, parent.map_or(SpanId::INVALID, |parent| parent.span), Some(flags), self.desk.clone())
    }
}

fn new_trace() -> TraceId {
    TraceId::from(fastrand::u128(1..))
}

/// The span that a request comes from. What is not well formed, or stands there twice, is as good as nothing.
fn parent(headers: &HeaderMap) -> Option<Place> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?;
    if values.next().is_some() || !is_well_formed(value.as_bytes()) {
        return None;
    }
    let context = TraceContextPropagator::new().extract(&Fields(headers));
    let span = context.span().span_context().clone();
    span.is_valid().then(|| Place {
        trace: span.trace_id(),
        span: span.span_id(),
        flags: span.trace_flags(),
        is_continued: true,
    })
}

/// Version, trace, span and flags, each with all its digits: the library that reads them takes fewer, too.
fn is_well_formed(value: &[u8]) -> bool {
    let fields: Vec<&[u8]> = value.split(|byte| *byte == b'-').collect();
    let is_hex = |field: &[u8]| field.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let lengths: Vec<usize> = fields.iter().map(|field| field.len()).collect();
    // Later versions may say more.
    let known = fields.first() == Some(&&b"00"[..]);
    lengths.starts_with(&[2, 32, 16, 2])
        && (lengths.len() == 4 || !known)
        && fields[..4].iter().all(|field| is_hex(field))
}

struct Fields<'head>(&'head HeaderMap);

impl Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (TRACEPARENT.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn telling(toml: &str) -> Telling {
        Telling::new(&toml::from_str(toml).unwrap(), Arc::new(Desk::new(16)))
    }

    #[test]
    fn what_is_not_well_formed_is_as_good_as_nothing() {
        for good in [GOOD, "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"] {
            assert!(parent(&headers(&[good])).is_some(), "{good}");
        }
        for bad in [
            "00-1-1-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(parent(&headers(&[bad])).is_none(), "{bad}");
        }
    }

    fn flags(telling: &Telling, values: &[&str]) -> Option<bool> {
        let trace = telling.begin(&headers(values));
        trace.place(trace.span()).map(|place| place.flags.is_sampled())
    }

    #[test]
    fn a_request_stays_in_the_trace_that_it_comes_from() {
        let telling = telling("otlp_endpoint = 'http://127.0.0.1:4317'\nsample_ratio = 0.0");
        let trace = telling.begin(&headers(&[GOOD]));
        assert_eq!(trace.id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace.span().to_string(), "00f067aa0ba902b7", "it is a span of its own");
        for bad in [
            &["00-4bf92f-00f067aa0ba902b7-01"][..],
            &[GOOD, GOOD],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["sk-canary"],
        ] {
            assert_ne!(telling.begin(&headers(bad)).id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736", "{bad:?}");
        }
    }

    #[test]
    fn who_asks_decides_what_is_sampled_unless_he_is_not_trusted() {
        let exports = "otlp_endpoint = 'http://127.0.0.1:4317'\n";
        let unsampled = GOOD.replace("-01", "-00");
        let never = telling(&format!("{exports}sample_ratio = 0.0"));
        assert_eq!(
            (flags(&never, &[GOOD]), flags(&never, &[&unsampled]), flags(&never, &[])),
            (Some(true), Some(false), Some(false))
        );
        let always = telling(&format!("{exports}sample_ratio = 1.0"));
        assert_eq!((flags(&always, &[&unsampled]), flags(&always, &[])), (Some(false), Some(true)));
        let alone = telling(&format!("{exports}sample_ratio = 0.0\ntrust_parent = false"));
        assert_eq!(flags(&alone, &[GOOD]), Some(false));
        assert_ne!(alone.begin(&headers(&[GOOD])).id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(flags(&telling(""), &[GOOD]), None, "nobody is told of spans");
    }

    #[test]
    fn as_many_are_sampled_as_is_set() {
        let telling = telling("otlp_endpoint = 'http://127.0.0.1:4317'\nsample_ratio = 0.1");
        let sampled = (0..10_000).filter(|_| flags(&telling, &[]) == Some(true)).count();
        assert!((800..1200).contains(&sampled), "{sampled} of 10000");
    }
}
