//! A kept answer, with all that says who may have it and until when.

pub mod wire;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Route;
use crate::ask::Tenant;

/// 256 bits over everything that decides an answer but the form in which it is sent: tenant, route, target,
/// headers, and the body without `stream` and `stream_options`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Id(pub [u8; 32]);

/// 256 bits over all of that but the last text of the user: inside one scope, questions may stand for each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope(pub [u8; 32]);

/// Milliseconds of Unix time. Kept answers outlive the process, so their times must, too.
pub type Date = u64;

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub id: Id,
    pub scope: Scope,
    pub tenant: Tenant,
    pub route: Route,
    pub model: Box<str>,
    /// What it can be invalidated by, beside tenant, model and id.
    pub tags: Vec<Box<str>>,
    /// The last text of the user, where a like question may have this answer.
    pub text: Option<Box<str>>,
    /// How many invalidations had been heard of when its question was asked.
    pub era: u64,
    pub stored: Date,
    /// How long it is fresh, and how long it is kept, from `stored` on.
    pub fresh: Duration,
    pub kept: Duration,
    pub made: Made,
    pub form: Form,
    pub status: u16,
    /// As the backend sent them, without those of the connection.
    pub headers: Vec<(Box<str>, Bytes)>,
    /// The body whole, or all events one behind the other.
    pub body: Bytes,
}

/// What it took to make an answer: what each use of it saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub millis: u64,
}

/// How the answer was sent when it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    Whole,
    /// A stream: where each of its events ends in the body; and whether its usage was asked for.
    Events {
        ends: Vec<u32>,
        usage: bool,
    },
}

impl Entry {
    /// Bytes that it takes in memory, its own structures included.
    pub fn weight(&self) -> usize {
        let ends = match &self.form {
            Form::Whole => 0,
            Form::Events { ends, .. } => ends.len() * size_of::<u32>(),
        };
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        let text = self.text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + self.body.len() + ends + headers + tags + text + self.model.len()
    }

    pub fn age(&self, now: Date) -> Duration {
        Duration::from_millis(now.saturating_sub(self.stored))
    }

    pub fn is_fresh(&self, now: Date) -> bool {
        self.age(now) < self.fresh
    }

    /// Whether it may still be used at all.
    pub fn is_kept(&self, now: Date) -> bool {
        self.age(now) < self.kept
    }

    pub fn until(&self) -> Date {
        self.stored.saturating_add(u64::try_from(self.kept.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The date now.
pub fn now() -> Date {
    #[expect(clippy::disallowed_methods, reason = "kept answers outlive the process: a date is meant")]
    let now = std::time::SystemTime::now();
    #[cfg(any(test, feature = "testing"))]
    let now = now + ahead();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How far a test has moved tokio's clock.
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the one clock is compared with the other")]
fn ahead() -> Duration {
    let moved = tokio::time::Instant::now().into_std();
    moved.saturating_duration_since(std::time::Instant::now())
}

/// What makes a kept answer findable by the meaning of its question, without the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    pub scope: Scope,
    pub id: Id,
    pub text: Box<str>,
    /// The text's embedding in the form that its maker keeps it in; empty where it is still to be made.
    pub vector: Box<[u8]>,
    /// Whose vector it is: the fingerprint of model, tokenizer and pooling. Those of others mean nothing here.
    pub maker: [u8; 16],
    /// When the answer is thrown away.
    pub until: Date,
    /// As the entry's.
    pub era: u64,
}

/// Sixteen hex digits: enough to tell answers apart in a log.
impl std::fmt::Debug for Id {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}
