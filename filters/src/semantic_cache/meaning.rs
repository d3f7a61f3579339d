//! Questions that mean the same: the kept question whose answer may stand for that of another.
//!
//! What stands first is cheapest. A text that must not be matched by meaning is turned away by its words
//! (`fitness`); where no kept question is near by a table of vectors, nothing more is done (`gate`); then the model
//! embeds the text on a thread of its own (`embedder`, `pool`), the nearest of its scope are found (`index`), what
//! differs in a number, a name or a direction is struck out (`guard`), and what is left is served if it is likely
//! enough to be right (`decide`). Whatever fails, is late or is too much is a miss: nothing here can hold up a question.

pub mod decide;
pub mod distil;
pub mod embedder;
pub mod fitness;
pub mod gate;
pub mod guard;
mod index;
pub mod pool;
pub mod runtime;
mod scan;
mod stats;
pub mod text;
mod vector;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::entry::{self, Date, Hint, Id, Scope};
use embedder::Files;
use gate::Gate;
use index::{Card, Index};
use pool::{Embedded, Pool};
use stats::Counters;

use crate::windows::Window;

pub use fitness::{Unfit, fitness};
pub use guard::Veto;
pub use stats::Stats;
pub use text::canonical;
pub use vector::Vector;

/// Up to so many kept questions the gate is asked in place, in less than 50 µs; for more, on another thread.
const GATE_IN_PLACE: usize = 1_024;
/// How many of the nearest are looked at.
const CANDIDATES: usize = 8;
/// How much of an answer is compared with another.
const BEGINNING_BYTES: usize = 480;

#[derive(Clone, Debug)]
pub struct Settings {
    /// A folder with `model.onnx` and `tokenizer.json`.
    pub model: Option<PathBuf>,
    /// ONNX Runtime's library; by default beside the model, or where `ORT_DYLIB_PATH` or the system has it.
    pub runtime: Option<PathBuf>,
    /// The folder of the gate's model; by default `static` in the model's. Without it every question passes.
    pub gate: Option<PathBuf>,
    /// The least cosine of a question that another's answer is served for.
    pub threshold: f32,
    /// The least cosine, by the gate's model, of a question that is worth a pass through the model.
    pub gate_threshold: f32,
    /// How many texts are embedded at the same time, each on one core; 0 for half of the cores.
    pub sessions: usize,
    /// How many questions may wait for a session, and how many texts to be kept.
    pub queue: usize,
    /// How many that wait are embedded in one pass.
    pub batch: usize,
    /// After that long, a question is a miss.
    pub deadline: Duration,
    /// What the model understands, as codes of ISO 639; `*` for all, none for English.
    pub languages: Vec<String>,
    /// How many questions are kept in all.
    pub max_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            model: None,
            runtime: None,
            gate: None,
            threshold: 0.84,
            gate_threshold: 0.70,
            sessions: 0,
            queue: 64,
            batch: 8,
            deadline: Duration::from_millis(100),
            languages: Vec::new(),
            max_entries: 100_000,
        }
    }
}

/// Why nothing can be matched by meaning.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no folder with an embedding model is named")]
    NoModel,
    #[error("`{}` cannot be used as an embedding model: {reason}", file.display())]
    Model { file: PathBuf, reason: String },
    #[error("ONNX Runtime cannot be loaded from `{}`: {reason}", file.display())]
    Runtime { file: PathBuf, reason: String },
    #[error("the gate's table cannot be made for the model in `{}`: {reason}", folder.display())]
    Distil { folder: PathBuf, reason: String },
    #[error("no thread for the embedding model: {0}")]
    Thread(#[source] std::io::Error),
}

pub struct Meaning {
    settings: Settings,
    fingerprint: [u8; 16],
    dimensions: usize,
    gate: Option<Gate>,
    index: Index,
    pool: Pool,
    counters: Counters,
}

/// A question whose answer has come and may be served again.
#[derive(Clone, Debug)]
pub struct New {
    pub scope: Scope,
    pub id: Id,
    pub text: Box<str>,
    pub until: Date,
    pub era: u64,
    /// What the search for it has found out already.
    pub vector: Option<Vector>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Sought {
    /// This one's answer may be served.
    Near { id: Id, similarity: f32, p_wrong: f32, text: Box<str> },
    /// No answer; and the text's vector, where it has been made.
    Far { why: Far, vector: Option<Vector> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Far {
    /// Nothing is kept in this scope.
    Empty,
    Unfit(Unfit),
    /// Nothing is near enough to be worth a pass through the model.
    Gate,
    /// The nearest is not near enough.
    Below,
    /// The nearest asks for something else.
    Vetoed(Veto),
    /// The nearest may well be something else.
    Doubtful,
    /// Too many wait.
    Busy,
    Late,
    Failed,
}

impl Meaning {
    /// Reads the model and loads the runtime: half a second a session.
    pub fn open(settings: &Settings) -> Result<Arc<Meaning>, Error> {
        let folder = settings.model.clone().ok_or(Error::NoModel)?;
        let files = Files::read(&folder)?;
        let environment = runtime::load(settings.runtime.as_deref(), &folder)?;
        let sessions = (0..sessions(settings.sessions)).map(|_| files.open(&folder, &environment));
        let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        let gate = Gate::open(settings.gate.as_deref().unwrap_or(&folder.join("static")))?;
        Self::start(settings.clone(), files.fingerprint, sessions, gate, &folder)
    }

    fn start<E: embedder::Embed>(
        settings: Settings,
        fingerprint: [u8; 16],
        mut sessions: Vec<E>,
        gate: Option<Gate>,
        folder: &Path,
    ) -> Result<Arc<Meaning>, Error> {
        let failed = |reason: String| Error::Model { file: folder.to_owned(), reason };
        let mut dimensions = 0;
        for session in &mut sessions {
            // The first pass is slow: better here than with somebody waiting.
            let first = session.embed(&["how do i reset my password"]).map_err(failed)?;
            dimensions = first.first().map_or(0, Vec::len);
        }
        if dimensions == 0 {
            return Err(failed("it makes no vectors".into()));
        }
        let pool = Pool::new(sessions, settings.queue, settings.batch).map_err(Error::Thread)?;
        let (index, counters) = (Index::new(settings.max_entries), Counters::default());
        Ok(Arc::new(Meaning { settings, fingerprint, dimensions, gate, index, pool, counters }))
    }

    /// Of the model, its tokenizer and how its output becomes one vector: vectors of others mean nothing here.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.fingerprint
    }

    /// The kept question of this scope whose answer may be served for this text. `threshold`: in place of that of
    /// the settings.
    pub async fn seek(self: &Arc<Self>, scope: &Scope, text: &str, threshold: Option<f32>) -> Sought {
        let sought = self.search(scope, text, threshold.unwrap_or(self.settings.threshold)).await;
        if let Sought::Far { why: Far::Vetoed(veto), .. } = &sought {
            self.counters.vetoed(*veto);
        }
        sought
    }

    async fn search(self: &Arc<Self>, scope: &Scope, text: &str, threshold: f32) -> Sought {
        let kept = self.index.len_of(scope);
        if kept == 0 {
            return far(Far::Empty);
        }
        if let Err(unfit) = fitness(text, &self.settings.languages) {
            return far(Far::Unfit(unfit));
        }
        if !self.passes_gate(*scope, text, kept).await {
            return far(Far::Gate);
        }
        let (meaning, scope, asked) = (self.clone(), *scope, Box::<str>::from(text));
        let look = move |embedded| meaning.look(&scope, &asked, embedded, threshold);
        let Ok(found) = self.pool.ask(text.into(), look) else { return far(Far::Busy) };
        match tokio::time::timeout(self.settings.deadline, found).await {
            Ok(Ok(sought)) => sought,
            Ok(Err(_)) => far(Far::Failed),
            Err(_) => far(Far::Late),
        }
    }

    async fn passes_gate(self: &Arc<Self>, scope: Scope, text: &str, kept: usize) -> bool {
        let Some(gate) = &self.gate else { return true };
        let vector = gate.vector(text);
        let threshold = self.settings.gate_threshold;
        if kept <= GATE_IN_PLACE {
            return self.index.nearest_gate(&scope, &vector).is_some_and(|cosine| cosine >= threshold);
        }
        let meaning = self.clone();
        let nearest = tokio::task::spawn_blocking(move || meaning.index.nearest_gate(&scope, &vector));
        nearest.await.ok().flatten().is_some_and(|cosine| cosine >= threshold)
    }

    /// On the pool's thread.
    fn look(&self, scope: &Scope, asked: &str, embedded: Embedded, threshold: f32) -> Sought {
        let vector = match embedded {
            Embedded::Vector(vector) => vector,
            Embedded::TooLong => return far(Far::Unfit(Unfit::Length)),
            Embedded::Failed => return far(Far::Failed),
        };
        let mut found = self.index.nearest(scope, &vector, CANDIDATES, entry::now());
        if self.settings.languages.len() > 1 {
            found.retain(|found| fitness::are_in_one_language(asked, &found.text));
        }
        let candidates: Vec<(&str, f32)> = found.iter().map(|found| (&*found.text, found.cosine)).collect();
        let bounds = decide::Bounds { threshold, budget: decide::BUDGET };
        match decide::choose(asked, &candidates, bounds, self.gate.as_ref()) {
            Ok(choice) => {
                let found = &found[choice.place];
                Sought::Near {
                    id: found.id,
                    similarity: found.cosine,
                    p_wrong: choice.p_wrong,
                    text: found.text.clone(),
                }
            }
            Err(why) => Sought::Far { why, vector: Some(vector) },
        }
    }

    /// Keeps a question in mind, embedding it first where nobody has; `then` gets what others need to keep it, too.
    /// A text that is not to be matched by meaning is not kept, and neither is one for which there is no room: its
    /// hint has no vector.
    pub fn note(self: &Arc<Self>, new: New, then: impl FnOnce(Hint) + Send + 'static) {
        let New { scope, id, text, until, era, vector } = new;
        let fit = fitness(&text, &self.settings.languages).is_ok();
        let hint = Hint { scope, id, text, vector: Box::default(), maker: self.fingerprint, until, era };
        match vector {
            _ if !fit => then(hint),
            Some(vector) => then(self.keep(hint, &vector)),
            None => self.embed_later(hint, then),
        }
    }

    /// Keeps a question in mind that has been kept before, or by another process. What another model made of it is
    /// made again.
    pub fn insert(self: &Arc<Self>, hint: Hint) {
        if hint.until <= entry::now() || fitness(&hint.text, &self.settings.languages).is_err() {
            return;
        }
        let vector = Vector::from_bytes(&hint.vector, self.dimensions);
        match vector.filter(|_| hint.maker == self.fingerprint) {
            Some(vector) => drop(self.keep(hint, &vector)),
            None => self.embed_later(hint, |_| {}),
        }
    }

    fn embed_later(self: &Arc<Self>, hint: Hint, then: impl FnOnce(Hint) + Send + 'static) {
        let (meaning, text) = (self.clone(), hint.text.clone());
        let kept = self.pool.later(text, move |embedded| {
            then(match embedded {
                Embedded::Vector(vector) => meaning.keep(hint, &vector),
                Embedded::TooLong | Embedded::Failed => hint,
            });
        });
        if kept.is_err() {
            self.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    fn keep(&self, hint: Hint, vector: &Vector) -> Hint {
        let gate = self.gate.as_ref().map(|gate| gate.vector(&hint.text));
        let (id, text, until) = (hint.id, hint.text.clone(), hint.until);
        self.index.insert(&hint.scope, Card { id, text, until, vector: vector.clone(), gate });
        Hint { vector: vector.to_bytes(), maker: self.fingerprint, ..hint }
    }

    pub fn forget(&self, scope: &Scope, id: &Id) {
        self.index.remove(scope, id);
    }

    /// How like two answers are, by their beginnings. None where the model has no time for it.
    pub async fn similarity(self: &Arc<Self>, left: &str, right: &str) -> Option<f32> {
        let (left, right) = (self.embedded(beginning(left))?, self.embedded(beginning(right))?);
        Some(left.await.ok()??.cosine(&right.await.ok()??))
    }

    /// What a text means. None where the model has no time for it, or reads only a part of it.
    pub async fn vector(self: &Arc<Self>, text: &str) -> Option<Vector> {
        self.embedded(text)?.await.ok()?
    }

    fn embedded(&self, text: &str) -> Option<tokio::sync::oneshot::Receiver<Option<Vector>>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let embedded = self.pool.later(text.into(), move |embedded| {
            let vector = if let Embedded::Vector(vector) = embedded { Some(vector) } else { None };
            // Nobody hears it who left meanwhile.
            let _ = sender.send(vector);
        });
        embedded.is_ok().then_some(receiver)
    }

    /// Ends the model's threads; what is asked from then on is a miss. Waits for what they are at, a second at most.
    pub fn stop(&self) {
        self.pool.stop(Duration::from_secs(1));
    }

    /// How busy the model is with questions that somebody waits for.
    pub fn busy(&self, window: Window) -> pool::Busy {
        self.pool.busy(window)
    }

    pub fn stats(&self) -> Stats {
        self.counters.stats(&self.index, self.pool.counts())
    }
}

fn far(why: Far) -> Sought {
    Sought::Far { why, vector: None }
}

fn beginning(text: &str) -> &str {
    let mut ends = (0..=BEGINNING_BYTES.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Half of the cores, and one at least.
fn sessions(named: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if named > 0 { named } else { (cores / 2).max(1) }
}

#[cfg(test)]
mod tests;
