//! Tells of each request that is over: a line, its spans if it is sampled, an example for a bucket.

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use outrigger_filters::trace::Record;

use super::access;
use super::desk::Digest;
use super::exemplars::Exemplars;
use super::otlp::Spans;
use super::spans::{self, Server};
use crate::insight::Insight;

pub struct Clerk {
    pub insight: Arc<Insight>,
    pub access_log: bool,
    pub servers: Vec<Server>,
    pub exemplars: Arc<Exemplars>,
    pub collector: Option<Spans>,
    pub scope: InstrumentationScope,
}

impl Digest for Clerk {
    fn digest(&mut self, record: &Record) {
        self.insight.take(record);
        if self.access_log {
            access::tell(record, &self.servers);
        }
        if record.context.is_sampled() {
            self.exemplars.take(record);
            if let Some(collector) = &self.collector {
                spans::of(record, &self.servers, &self.scope).into_iter().for_each(|span| collector.take(span));
            }
        }
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        if let Some(collector) = &self.collector {
            collector.finish();
        }
    }
}
