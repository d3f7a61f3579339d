//! What all sidecars share of an index: hints, and the news of them and of purges.
//!
//! A sidecar searches in its own memory. What it shares are the hints that make up its index: it reads those of a scope
//! once, when the scope is first used there, and hears of later ones in the news. [`Streams`] keeps them in streams of
//! Redis or Valkey, which any server has; its query engine, or Qdrant, could stand here later: then [`SharedIndex::scope`]
//! would answer with the nearest of a question, and the news would carry purges only.

mod entered;
mod queue;
mod remote;
mod streams;

use async_trait::async_trait;

use super::rules::Rule;
use crate::semantic_cache::entry::{Date, Hint, Id, Scope};

pub(super) use entered::Entered;
pub(super) use queue::{Job, Queue};
pub(super) use remote::Remote;
pub use streams::Streams;

/// There is no answer: it is away, or too slow, or does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

/// How far the news are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Another one means that whoever kept the news has lost them.
    pub generation: String,
    pub number: u64,
}

/// Where a sidecar begins to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub position: Position,
    /// When the generation began: of what was kept before, not all purges are known.
    pub born: Date,
    /// All rules in force there.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Hint(Hint),
    Gone(Scope, Id),
    Rule(Rule),
}

#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// In their order, how far that is, and whether there may be more at once.
    Items { items: Vec<Item>, position: Position, more: bool },
    /// What came after the position is not there any more: begin anew, and enter all scopes anew.
    Lost,
}

#[async_trait]
pub trait SharedIndex: Send + Sync {
    /// Where the news begin now, with the rules in force. What comes later is told by the news from there on. Makes
    /// sure that eras to come are later than this one.
    async fn begin(&self, era: u64) -> Result<Start, Away>;

    /// What the other sidecars, not this one, have told since. Also keeps eras later than this one.
    async fn news(&self, position: &Position, era: u64) -> Result<News, Away>;

    /// All hints of a scope, oldest first.
    async fn scope(&self, scope: &Scope) -> Result<Vec<Hint>, Away>;

    /// Keeps a hint for all, and tells the news.
    async fn publish(&self, hint: &Hint) -> Result<(), Away>;

    /// Tells that an entry is gone.
    async fn withdraw(&self, scope: &Scope, id: &Id) -> Result<(), Away>;

    /// Keeps a new rule for all, and tells the news. Returns it with its era, which is later than all known anywhere.
    async fn purge(&self, rule: &Rule) -> Result<Rule, Away>;

    /// Keeps rules that were lost there again, with the eras that they had.
    async fn restore(&self, rules: &[Rule]) -> Result<(), Away>;
}
