//! What is written down of every call: whose and what it was, in bounded room, and in exact sums of money.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use tokio::time::Instant;

use super::Spent;
use super::heavy::Heavy;
use super::manner::Manner;
use super::pairing::{Pairing, named};
use super::spread::{Shares, Sizes};
use crate::ask::Print;
use crate::money::Money;
use crate::usage::Tokens;
use crate::{Route, Tenant};

/// Told apart in each half of the window: those that most money goes to.
pub const MOST_PROMPTS: usize = 2_000;
pub const MOST_PAIRS: usize = 1_000;
pub const MOST_WASTED: usize = 200;

/// A call as short as this asks for little.
const SHORT_INPUT: u64 = 2_000;
const SHORT_OUTPUT: u64 = 64;

/// A tenant's calls of a model.
#[derive(Clone)]
pub struct Pair {
    pub tenant: Tenant,
    pub model: Arc<str>,
    pub calls: u64,
    pub cost: Money,
    pub bounded: Bounded,
    pub short: Short,
}

/// Answers whose askers set a bound.
#[derive(Clone, Default)]
pub struct Bounded {
    pub calls: u64,
    pub asked: Sizes,
    pub used: Sizes,
    pub shares: Shares,
    pub asked_tokens: u64,
    pub used_tokens: u64,
}

/// Answers that were short, to questions that were.
#[derive(Clone, Default)]
pub struct Short {
    pub calls: u64,
    pub cost: Money,
    pub tokens: Tokens,
}

/// A question, with all who asked it again.
#[derive(Clone)]
pub struct Prompt {
    pub tenant: Tenant,
    pub model: Arc<str>,
    pub manner: Manner,
    pub times: u64,
    pub first: Money,
    pub cost: Money,
    pub begun: Instant,
    pub ended: Instant,
}

/// Calls of one backend that were paid for nothing, or that stood in for such.
#[derive(Clone)]
pub struct Wasted {
    pub backend: Arc<str>,
    pub model: Arc<str>,
    pub wasted: u64,
    pub tokens: u64,
    pub cost: Money,
    pub repeated: u64,
}

/// Adds what was written down later to what was written down before.
pub trait Sum: Clone {
    fn add(&mut self, later: &Self);
}

/// Half a window.
pub struct Books {
    pairs: Heavy<Pairing, Pair>,
    prompts: Heavy<Print, Prompt>,
    wasted: Heavy<Pairing, Wasted>,
    calls: u64,
    cost: Money,
}

/// The books as they were at one moment.
pub struct Copied {
    pub pairs: Vec<(Pairing, Pair)>,
    pub prompts: Vec<(Print, Prompt)>,
    pub wasted: Vec<(Pairing, Wasted)>,
    pub calls: u64,
    pub cost: Money,
    /// What a prompt that is not told apart may have cost at most.
    pub overlooked: Money,
}

impl Books {
    pub fn new() -> Self {
        Books {
            pairs: Heavy::new(MOST_PAIRS),
            prompts: Heavy::new(MOST_PROMPTS),
            wasted: Heavy::new(MOST_WASTED),
            calls: 0,
            cost: Money::ZERO,
        }
    }

    pub fn copy(&self) -> Copied {
        Copied {
            pairs: self.pairs.copy(),
            prompts: self.prompts.copy(),
            wasted: self.wasted.copy(),
            calls: self.calls,
            cost: self.cost,
            overlooked: Money::from_nanos(self.prompts.overlooked()),
        }
    }

    pub fn note(&mut self, spent: &Spent<'_>, at: Instant) {
        let (name, cost) = (named(spent.model), spent.cost.unwrap_or_default());
        // What has no price weighs next to nothing, so that invented names push out nothing that cost money.
        let weight = cost.nanos().max(1);
        self.calls += 1;
        self.cost += cost;
        if spent.wasted || spent.attempt > 1 {
            let key = Pairing::of(spent.backend.as_bytes(), name);
            self.wasted.add(key, weight, || Wasted::new(spent.backend, name)).note(spent);
        }
        if spent.wasted {
            return;
        }
        let tenant = spent.ask.tenant;
        let key = Pairing::of(tenant.digest(), name);
        let pair = self.pairs.add(key, weight, || Pair::new(tenant, name));
        pair.note(spent);
        if cost > Money::ZERO && !spent.ask.question.stateful {
            let fresh = || Prompt::new(tenant, pair.model.clone(), Manner::of(spent.ask), at);
            self.prompts.add(spent.ask.print, weight, fresh).note(cost, at);
        }
    }
}

impl Pair {
    fn new(tenant: Tenant, model: &str) -> Self {
        let (bounded, short) = (Bounded::default(), Short::default());
        Pair { tenant, model: model.into(), calls: 0, cost: Money::ZERO, bounded, short }
    }

    fn note(&mut self, spent: &Spent<'_>) {
        let (question, tokens) = (&spent.ask.question, &spent.tokens);
        self.calls += 1;
        self.cost += spent.cost.unwrap_or_default();
        if tokens.output == 0 || spent.ask.route == Route::Embeddings {
            return;
        }
        if let Some(asked) = question.max_tokens.filter(|asked| *asked > 0) {
            self.bounded.note(asked, tokens.output / question.choices.unwrap_or(1).max(1));
        }
        let only_text = tokens.audio_input + tokens.image_input + tokens.audio_output + tokens.image_output == 0;
        let is_short = tokens.input <= SHORT_INPUT && tokens.output <= SHORT_OUTPUT;
        if let Some(cost) = spent.cost.filter(|_| is_short && only_text) {
            self.short.calls += 1;
            self.short.cost += cost;
            plus(&mut self.short.tokens, tokens);
        }
    }
}

impl Bounded {
    fn note(&mut self, asked: u64, used: u64) {
        self.calls += 1;
        self.asked.add(asked);
        self.used.add(used);
        self.shares.add(used as f64 / asked as f64);
        self.asked_tokens = self.asked_tokens.saturating_add(asked);
        self.used_tokens = self.used_tokens.saturating_add(used);
    }
}

impl Prompt {
    fn new(tenant: Tenant, model: Arc<str>, manner: Manner, at: Instant) -> Self {
        let (first, cost) = (Money::ZERO, Money::ZERO);
        Prompt { tenant, model, manner, times: 0, first, cost, begun: at, ended: at }
    }

    fn note(&mut self, cost: Money, at: Instant) {
        if self.times == 0 {
            self.first = cost;
        }
        self.times += 1;
        self.cost += cost;
        self.ended = at;
    }
}

impl Wasted {
    fn new(backend: &str, model: &str) -> Self {
        let (backend, model) = (backend.into(), model.into());
        Wasted { backend, model, wasted: 0, tokens: 0, cost: Money::ZERO, repeated: 0 }
    }

    fn note(&mut self, spent: &Spent<'_>) {
        self.repeated += u64::from(spent.attempt > 1);
        if spent.wasted {
            self.wasted += 1;
            self.tokens = self.tokens.saturating_add(spent.tokens.input.saturating_add(spent.tokens.output));
            self.cost += spent.cost.unwrap_or_default();
        }
    }
}

impl Sum for Pair {
    fn add(&mut self, later: &Self) {
        self.calls += later.calls;
        self.cost += later.cost;
        self.bounded.calls += later.bounded.calls;
        self.bounded.asked.merge(&later.bounded.asked);
        self.bounded.used.merge(&later.bounded.used);
        self.bounded.shares.merge(&later.bounded.shares);
        self.bounded.asked_tokens = self.bounded.asked_tokens.saturating_add(later.bounded.asked_tokens);
        self.bounded.used_tokens = self.bounded.used_tokens.saturating_add(later.bounded.used_tokens);
        self.short.calls += later.short.calls;
        self.short.cost += later.short.cost;
        plus(&mut self.short.tokens, &later.short.tokens);
    }
}

impl Sum for Prompt {
    fn add(&mut self, later: &Self) {
        self.times += later.times;
        self.cost += later.cost;
        self.ended = later.ended;
    }
}

impl Sum for Wasted {
    fn add(&mut self, later: &Self) {
        self.wasted += later.wasted;
        self.tokens = self.tokens.saturating_add(later.tokens);
        self.cost += later.cost;
        self.repeated += later.repeated;
    }
}

fn plus(sum: &mut Tokens, more: &Tokens) {
    let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
    add(&mut sum.input, more.input);
    add(&mut sum.cached_input, more.cached_input);
    add(&mut sum.cache_writes, more.cache_writes);
    add(&mut sum.cache_writes_1h, more.cache_writes_1h);
    add(&mut sum.output, more.output);
    add(&mut sum.reasoning, more.reasoning);
}

/// Both halves as one.
pub fn merged<'copied, K, V>(halves: impl IntoIterator<Item = &'copied Vec<(K, V)>>) -> HashMap<K, V>
where
    K: Copy + Eq + Hash + 'copied,
    V: Sum + 'copied,
{
    let mut all: HashMap<K, V> = HashMap::new();
    for (key, value) in halves.into_iter().flatten() {
        all.entry(*key).and_modify(|sum| sum.add(value)).or_insert_with(|| value.clone());
    }
    all
}
