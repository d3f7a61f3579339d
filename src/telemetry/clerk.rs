//! Tells of each request that is over: a line, its spans if it is sampled, an example for a bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use opentelemetry::InstrumentationScope;
use outrigger_filters::trace::Record;

use super::access;
use super::desk::Digest;
use super::exemplars::Exemplars;
use super::otlp::Spans;
use super::spans::{self, Server};
use crate::insight::Insight;

/// What the settings say of the telling; they may change while it goes on.
pub struct Orders {
    pub access_log: AtomicBool,
    /// By the places of backends: those that are no more are there still, since calls to them may end yet.
    pub servers: ArcSwap<Vec<Server>>,
}

pub struct Clerk {
    pub insight: Arc<Insight>,
    pub orders: Arc<Orders>,
    pub exemplars: Arc<Exemplars>,
    pub collector: Option<Spans>,
    pub scope: InstrumentationScope,
}

impl Digest for Clerk {
    fn digest(&mut self, record: &Record) {
        self.insight.take(record);
        let servers = self.orders.servers.load();
        if self.orders.access_log.load(Ordering::Relaxed) {
            access::tell(record, &servers);
        }
        if record.context.is_sampled() {
            self.exemplars.take(record);
            if let Some(collector) = &self.collector {
                spans::of(record, &servers, &self.scope).into_iter().for_each(|span| collector.take(span));
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
