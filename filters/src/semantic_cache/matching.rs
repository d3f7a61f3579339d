//! The ways from a question's text to a kept answer: its canonical form first, then its meaning.
//!
//! The model takes most of a second to be read, and nobody waits for it: until it is there, questions are matched by
//! their words, and what is to be found by its meaning waits to be taken in.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foyer::{Cache as Lru, CacheBuilder};

use super::counts::Miss;
use super::entry::{Hint, Id, Scope};
use super::meaning::{self, Far, Meaning, New, Sought, Vector};
use super::places::Listener;
use super::question::Text;

/// A question's text, and what was found out about it while it was looked for.
pub struct Matched {
    pub text: Text,
    alias: Alias,
    pub vector: Option<Vector>,
}

/// A name of all texts of one scope that have the same canonical form.
type Alias = [u8; 32];

impl Matched {
    pub fn new(text: Text) -> Self {
        let alias = alias(&text.scope, &text.text);
        Matched { text, alias, vector: None }
    }

    /// Whether it asks about now.
    pub fn is_volatile(&self) -> bool {
        meaning::fitness::asks_about_now(&self.text.text)
    }
}

fn alias(scope: &Scope, text: &str) -> Alias {
    let mut hasher = blake3::Hasher::new_derive_key("outrigger 2026-11-21 alias");
    hasher.update(&scope.0);
    hasher.update(meaning::canonical(text).as_bytes());
    *hasher.finalize().as_bytes()
}

/// What leads from texts to answers. It learns of answers that lie elsewhere, too.
pub struct Matching {
    aliases: Lru<Alias, Id>,
    /// The model, or why there is none; nothing yet while it is being read.
    meaning: OnceLock<Result<Arc<Meaning>, String>>,
    /// What came before the model was there, or was not to be had.
    early: Mutex<Option<Vec<Hint>>>,
    max_entries: usize,
}

/// An answer to a like question.
pub struct Near {
    pub id: Id,
    pub similarity: f32,
}

impl Matching {
    pub fn new(max_entries: usize) -> Self {
        let aliases = CacheBuilder::new(max_entries).with_shards(16).build();
        let early = Mutex::new(Some(Vec::new()));
        Matching { aliases, meaning: OnceLock::new(), early, max_entries }
    }

    /// The model is there, or it is known why there is none. Only the first word counts.
    pub fn open(&self, meaning: Result<Arc<Meaning>, String>) {
        let _ = self.meaning.set(meaning);
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(meaning) = self.meaning() {
            early.into_iter().flatten().for_each(|hint| meaning.insert(hint));
        }
    }

    pub fn meaning(&self) -> Option<&Arc<Meaning>> {
        self.meaning.get()?.as_ref().ok()
    }

    /// Why nothing is matched by meaning; none while it is not known.
    pub fn without_meaning(&self) -> Option<&str> {
        self.meaning.get()?.as_ref().err().map(String::as_str)
    }

    /// Takes a question in by its meaning, as soon as there is a model.
    fn insert(&self, hint: Hint) {
        if let Some(waiting) = &mut *self.early.lock().unwrap_or_else(PoisonError::into_inner) {
            if waiting.len() < self.max_entries {
                waiting.push(hint);
            }
            return;
        }
        if let Some(meaning) = self.meaning() {
            meaning.insert(hint);
        }
    }

    /// The answer of a question that is the same but for its spelling.
    pub fn same(&self, matched: &Matched) -> Option<Id> {
        self.aliases.get(&matched.alias).map(|entry| *entry.value())
    }

    /// The answer of a question that means the same.
    pub async fn like(&self, matched: &mut Matched, threshold: f32) -> Result<Near, Miss> {
        let Some(meaning) = self.meaning() else { return Err(Miss::ExactOnly) };
        match meaning.seek(&matched.text.scope, &matched.text.text, Some(threshold)).await {
            Sought::Near { id, similarity, .. } => Ok(Near { id, similarity }),
            Sought::Far { why, vector } => {
                matched.vector = vector;
                Err(miss(&why))
            }
        }
    }

    /// Remembers where the answer to a text lies. `then` gets what others need to find it, too.
    pub fn remember(&self, id: Id, matched: Matched, until: u64, era: u64, then: impl FnOnce(Hint) + Send + 'static) {
        self.aliases.insert(matched.alias, id);
        let Matched { text: Text { scope, text }, vector, .. } = matched;
        match self.meaning() {
            Some(meaning) => meaning.note(New { scope, id, text: text.into(), until, era, vector }, then),
            None => {
                let hint = Hint { scope, id, text: text.into(), vector: Box::default(), maker: [0; 16], until, era };
                self.insert(hint.clone());
                then(hint);
            }
        }
    }

    /// What led to an answer that is not there any more.
    pub fn forget(&self, matched: &Matched, id: &Id) {
        self.aliases.remove(&matched.alias);
        if let Some(meaning) = self.meaning() {
            meaning.forget(&matched.text.scope, id);
        }
    }
}

impl Listener for Matching {
    fn hint(&self, hint: Hint) {
        self.aliases.insert(alias(&hint.scope, &hint.text), hint.id);
        self.insert(hint);
    }

    fn gone(&self, scope: &Scope, id: &Id) {
        if let Some(meaning) = self.meaning() {
            meaning.forget(scope, id);
        }
    }
}

fn miss(why: &Far) -> Miss {
    match why {
        Far::Empty => Miss::Empty,
        Far::Unfit(_) => Miss::Unfit,
        Far::Gate => Miss::Gate,
        Far::Below => Miss::Below,
        Far::Vetoed(_) => Miss::Vetoed,
        Far::Doubtful => Miss::Doubtful,
        Far::Busy => Miss::Busy,
        Far::Late => Miss::Late,
        Far::Failed => Miss::Failed,
    }
}
