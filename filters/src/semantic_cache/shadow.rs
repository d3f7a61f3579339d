//! The mode `shadow`: what would have been given is compared with what the backend says, and counted.

use std::sync::Arc;

use futures::StreamExt;

use super::cache::Cache;
use super::convert;
use super::counts::Shadow;
use super::entry::{Entry, Form};
use super::record::Tape;
use super::replay;
use crate::ask::{Ask, Route};
use crate::reply::{Body, Event};
use crate::{End, Reply, Watch};

/// Answers at least this similar say the same.
const SAME: f32 = 0.9;

/// Lets the backend's answer be compared with the kept one as it goes by.
pub fn compare(cache: &Arc<Cache>, ask: &Arc<Ask>, would: Arc<Entry>, reply: Reply) -> Reply {
    if !reply.status.is_success() {
        cache.counts.shadow(Shadow::Unknown);
        return reply;
    }
    let tape = Tape::new(cache.max_entry_bytes);
    let watch = Comparison { cache: cache.clone(), route: ask.route, would, tape };
    reply.watched(Box::new(watch))
}

struct Comparison {
    cache: Arc<Cache>,
    route: Route,
    would: Arc<Entry>,
    tape: Tape,
}

impl Watch for Comparison {
    fn event(&mut self, event: &Event) {
        self.tape.push(event);
    }

    fn end(self: Box<Self>, end: &End) {
        let whole = self.tape.events().filter(|_| *end == End::Complete);
        let said = whole.and_then(|events| text(self.route, events));
        let (Some(said), Some(kept)) = (said, kept_text(&self.would)) else {
            return self.cache.counts.shadow(Shadow::Unknown);
        };
        if said.trim() == kept.trim() {
            return self.cache.counts.shadow(Shadow::Agreed);
        }
        let Some(meaning) = self.cache.matching.meaning().cloned() else {
            return self.cache.counts.shadow(Shadow::Unknown);
        };
        #[expect(clippy::disallowed_methods, reason = "one comparison, bounded by the embedder's own deadline")]
        tokio::spawn(async move {
            let outcome = match meaning.similarity(&said, &kept).await {
                Some(similarity) if similarity >= SAME => Shadow::Agreed,
                Some(_) => Shadow::Differed,
                None => Shadow::Unknown,
            };
            self.cache.counts.shadow(outcome);
        });
    }
}

fn text(route: Route, events: &[Event]) -> Option<String> {
    let parts = || events.iter().map(|event| &event.bytes[..]);
    let whole = match parts().next()?.starts_with(b"{") {
        true => parts().collect::<Vec<_>>().concat().into(),
        false => convert::to_whole(route, parts())?,
    };
    convert::text(route, &whole)
}

/// What a kept answer says.
pub fn kept_text(entry: &Entry) -> Option<String> {
    let whole = match &entry.form {
        Form::Whole => entry.body.clone(),
        Form::Events { .. } => convert::to_whole(entry.route, replay::parts(entry).iter().map(|part| &part[..]))?,
    };
    convert::text(entry.route, &whole)
}

/// Reads an answer that nobody waits for.
pub async fn read_out(reply: Reply) {
    if let Body::Events(mut events) = reply.body {
        while let Some(Ok(_)) = events.next().await {}
    }
}
