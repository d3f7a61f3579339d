//! What all requests share: the command line's defaults, the configured ones, and the books.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::clock::Clock;
use super::controls::Controls;
use super::ledger::Ledger;
use super::milliseconds::Milliseconds;
use super::options::{CountPrompts, Options};
use super::question::{Question, Route};
use super::slots::Slots;

pub struct Simulator {
    pub clock: Clock,
    pub ledger: Arc<Ledger>,
    pub models: Vec<String>,
    pub slots: Arc<Slots>,
    /// Of the command line.
    slot_count: u64,
    ttft: Milliseconds,
    gap: Milliseconds,
    tokens: u64,
    count_prompts: CountPrompts,
    configured: RwLock<Arc<Controls>>,
}

impl Simulator {
    pub fn new(options: &Options) -> Simulator {
        let clock = Clock::start();
        Simulator {
            clock,
            ledger: Ledger::new(clock),
            models: options.models.clone(),
            slots: Slots::new(options.slots),
            slot_count: options.slots,
            ttft: options.ttft_ms,
            gap: options.gap_ms,
            tokens: options.tokens,
            count_prompts: options.count_prompts,
            configured: RwLock::default(),
        }
    }

    pub fn configure(&self, controls: Controls) {
        self.slots.resize(controls.slots.unwrap_or(self.slot_count));
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(controls);
    }

    /// What a request asks for, filled up with what `/sim/config` set.
    pub fn controls(&self, asked: Option<Controls>) -> Controls {
        let configured = Arc::clone(&self.configured.read().unwrap_or_else(PoisonError::into_inner));
        asked.unwrap_or_default().or(&configured)
    }

    pub fn ttft(&self, controls: &Controls) -> Duration {
        controls.ttft_ms.unwrap_or(self.ttft).duration()
    }

    pub fn gap(&self, controls: &Controls) -> Duration {
        controls.gap_ms.unwrap_or(self.gap).duration()
    }

    pub fn prompt_tokens(&self, route: Route, question: &Question<'_>) -> u64 {
        self.count_prompts.count(route, question).unwrap_or_else(|| question.prompt_tokens())
    }

    /// Output tokens where neither the request nor its controls say how many.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}
