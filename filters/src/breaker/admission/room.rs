//! What stands under the lock: what is in flight, who waits, and what was learned.
//!
//! Nothing here awaits, wakes or drops a slot: whoever is to be told is handed out, and told once the lock is free.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::base::{Bases, Known};
use super::config::Config;
use super::limit::{Bounds, Limit, Sample};
use super::pace::{Now, Pace};
use super::queue::{Answer, Priority, Queue, Waiter};
use super::report::{Sheds, Unit, Why};
use super::{Shed, queue};

/// The weight of the latest request in what is usual.
const LATEST: f64 = 1.0 / 64.0;

/// A request counts for at most such a part of the capacity. What it may take is a guess: an image that is sent within
/// the prompt, or an answer that may be as long as can be, must not have the whole backend to itself.
const LARGEST_PART: u64 = 8;
/// Further than this nobody can see, and a client that is told to stay away for longer will not come back.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What is in flight, or a part of it, in both units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub requests: u64,
    pub tokens: u64,
}

impl Load {
    const fn add(&mut self, tokens: u64) {
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(tokens);
    }

    const fn take(&mut self, tokens: u64) {
        self.requests = self.requests.saturating_sub(1);
        self.tokens = self.tokens.saturating_sub(tokens);
    }

    const fn in_unit(self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.tokens,
        }
    }
}

/// What somebody holds who was let in.
#[derive(Debug)]
pub struct Entry {
    pub units: u64,
    pub at: Instant,
    /// What was in flight with it.
    pub load: Load,
    /// Whether its first token has come.
    pub runs: bool,
    /// Whether it has told how long the backend took.
    pub told: bool,
}

/// Which base a sample is held against.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    FirstToken,
    Whole,
}

/// Those whose turn has come.
pub type Turns = Vec<(Answer, Entry)>;

/// What a process has learned of a backend, and another takes over.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Where requests are counted.
    limit: Option<f64>,
    first_token: Vec<Known>,
    whole: Vec<Known>,
}

pub struct Room {
    pub config: Config,
    /// In tokens, where it is known; then tokens are what is counted.
    pub capacity: Option<u64>,
    pub load: Load,
    runs: Load,
    pub limit: Limit,
    first_token: Bases,
    whole: Bases,
    pub queue: Queue,
    last_id: u64,
    pace: Pace,
    usual_tokens: f64,
    /// Requests that had to wait, since the start.
    pub waited: u64,
    pub sheds: Sheds,
}

/// Its window, and the time to learn anew, in seconds.
fn spans(config: &Config) -> (f64, f64) {
    let window = Duration::from_millis(config.window_ms.get());
    (window.as_secs_f64(), Duration::from_secs(config.relearn_secs.get()).as_secs_f64())
}

impl Room {
    pub fn new(config: Config, now: Instant) -> Room {
        let (initial, most) = (config.initial_limit.get(), config.max_limit.get());
        let (window, relearn) = spans(&config);
        Room {
            capacity: None,
            load: Load::default(),
            runs: Load::default(),
            limit: Limit::new(f64::from(initial.min(most)), window, relearn, now),
            first_token: Bases::new(relearn),
            whole: Bases::new(relearn),
            queue: Queue::default(),
            last_id: 0,
            pace: Pace::new(now),
            usual_tokens: 0.0,
            waited: 0,
            sheds: Sheds::default(),
            config,
        }
    }

    /// What was learned, for another process.
    pub fn learned(&self) -> Learned {
        Learned {
            limit: (self.unit() == Unit::Requests).then_some(self.limit.value),
            first_token: self.first_token.saved(),
            whole: self.whole.saved(),
        }
    }

    /// Goes on with what another process has learned. Where it counted tokens, this one does not know yet whether it will.
    pub fn resume(&mut self, learned: &Learned, now: Instant) {
        let [least, most] = [self.config.min_limit, self.config.max_limit].map(|limit| f64::from(limit.get()));
        if let Some(limit) = learned.limit.filter(|_| self.config.adaptive && self.unit() == Unit::Requests) {
            self.limit.restart(limit.clamp(least, most.max(least)), now);
        }
        self.first_token.resume(&learned.first_token, now);
        self.whole.resume(&learned.whole, now);
    }

    /// Other settings: what was learned stays, as far as it is still allowed. Who waits goes on waiting.
    pub fn renew(&mut self, config: Config, now: Instant) -> Turns {
        let untried = self.limit.value == self.bounds().initial;
        let (window, relearn) = spans(&config);
        self.config = config;
        self.limit.retune(window, relearn);
        self.first_token.relearn_in(relearn);
        self.whole.relearn_in(relearn);
        let Bounds { least, most, initial } = self.bounds();
        let stands = untried || !self.config.adaptive;
        self.limit.value = if stands { initial } else { self.limit.value.max(least).min(most) };
        self.turns(now)
    }

    pub const fn unit(&self) -> Unit {
        if self.capacity.is_some() { Unit::Tokens } else { Unit::Requests }
    }

    pub const fn used(&self) -> u64 {
        self.load.in_unit(self.unit())
    }

    pub const fn running(&self) -> u64 {
        self.runs.in_unit(self.unit())
    }

    /// What may be in flight.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a limit is neither negative nor huge")]
    pub fn allowed(&self) -> u64 {
        let limit = self.limit.value as u64;
        self.capacity.map_or(limit, |capacity| limit.min(capacity))
    }

    fn cost(&self, units: u64) -> u64 {
        if self.unit() == Unit::Requests { 1 } else { self.counted(units) }
    }

    /// As many of these tokens as are counted.
    fn counted(&self, units: u64) -> u64 {
        self.capacity.map_or(units, |capacity| units.min((capacity / LARGEST_PART).max(1)))
    }

    /// The units of a usual request.
    fn usual(&self) -> f64 {
        if self.unit() == Unit::Requests { 1.0 } else { self.usual_tokens.max(1.0) }
    }

    /// Where tokens are counted, the fewest requests that may be in flight are let in however large they are.
    pub fn fits(&self, units: u64) -> bool {
        let [least, most] = [self.config.min_limit, self.config.max_limit].map(|limit| u64::from(limit.get()));
        let few = self.unit() == Unit::Tokens && self.load.requests < least;
        let enough = few || self.used().saturating_add(self.cost(units)) <= self.allowed();
        self.load.requests == 0 || (enough && self.load.requests < most)
    }

    /// Lets in who fits, unless somebody waits who goes first.
    pub fn enter(&mut self, units: u64, priority: Priority, now: Instant) -> Option<Entry> {
        let free = self.fits(units) && self.queue.ahead(priority).next().is_none();
        free.then(|| self.admit(units, now))
    }

    fn admit(&mut self, units: u64, now: Instant) -> Entry {
        let units = self.counted(units);
        self.load.add(units);
        let tokens = units as f64;
        self.usual_tokens += if self.usual_tokens == 0.0 { tokens } else { LATEST * (tokens - self.usual_tokens) };
        self.mark(now);
        Entry { units, at: now, load: self.load, runs: false, told: false }
    }

    fn mark(&mut self, now: Instant) {
        let full = !self.queue.is_empty() || self.used() >= self.allowed();
        self.pace.mark(now, full);
    }

    /// Takes back what somebody held, and hands it to whose turn it is.
    pub fn leave(&mut self, entry: &Entry, now: Instant) -> Turns {
        self.mark(now);
        let held = now.saturating_duration_since(entry.at);
        // A call that soon came to nothing says nothing of how soon an answer makes room.
        if entry.told || self.pace.is_usual(held) {
            self.pace.left(self.cost(entry.units) as f64, held);
        }
        self.load.take(entry.units);
        if entry.runs {
            self.runs.take(entry.units);
        }
        self.turns(now)
    }

    /// Lets in everybody for whom there is room now.
    pub fn turns(&mut self, now: Instant) -> Turns {
        let mut turns = Turns::new();
        while self.queue.first().is_some_and(|first| self.fits(first.units)) {
            let Some(Waiter { units, answer, .. }) = self.queue.take_first() else { break };
            turns.push((answer, self.admit(units, now)));
        }
        self.mark(now);
        turns
    }

    /// Puts somebody in the queue, or says why not; hands out those who have to go for it.
    pub fn wait(
        &mut self,
        units: u64,
        priority: Priority,
        until: Instant,
        answer: Answer,
        now: Instant,
    ) -> Result<(u64, Vec<(Answer, Shed)>), Shed> {
        if self.pace_until(units, priority, Pace::cautious, now) > until.saturating_duration_since(now) {
            return Err(self.shed(Why::WouldWaitTooLong, units, priority, now));
        }
        let mut gone = Vec::new();
        if self.queue.len() >= self.config.queue {
            let Some((lower, _)) = self.queue.last_below(priority) else {
                return Err(self.shed(Why::QueueFull, units, priority, now));
            };
            gone.extend(self.evict(lower, now));
        }
        self.last_id += 1;
        self.waited += 1;
        self.queue.push(priority, Waiter { id: self.last_id, units, deadline: until, answer });
        self.mark(now);
        self.evict_the_late(priority, now, &mut gone);
        Ok((self.last_id, gone))
    }

    /// Tells those at once who cannot make it any more since somebody went before them.
    fn evict_the_late(&mut self, priority: Priority, now: Instant, gone: &mut Vec<(Answer, Shed)>) {
        while let Some((lower, last)) = self.queue.last_below(priority) {
            let left = last.deadline.saturating_duration_since(now);
            // It is among those ahead of a newcomer already.
            let missing = self.missing(0, lower).max(0.0);
            if self.pace.mean(missing, self.now(now)) <= left {
                break;
            }
            gone.extend(self.evict(lower, now));
        }
    }

    fn evict(&mut self, lower: Priority, now: Instant) -> Option<(Answer, Shed)> {
        let queue::Waiter { units, answer, .. } = self.queue.take_last_of(lower)?;
        Some((answer, self.shed(Why::Evicted, units, lower, now)))
    }

    /// Who waits no longer goes; that may be what those behind have waited for.
    pub fn give_up(&mut self, priority: Priority, id: u64, now: Instant) -> (Option<u64>, Turns) {
        let units = self.queue.remove(priority, id).map(|waiter| waiter.units);
        (units, self.turns(now))
    }

    pub fn shed(&mut self, why: Why, units: u64, priority: Priority, now: Instant) -> Shed {
        self.sheds.count(why);
        Shed { why, retry_after: self.pace_until(units, priority, Pace::mean, now).min(LONGEST_RETRY) }
    }

    /// Everybody who waits goes, because the backend has.
    pub fn turn_away(&mut self, now: Instant) -> Vec<(Answer, Shed)> {
        let gone: Vec<Waiter> = self.queue.drain().collect();
        self.mark(now);
        let shed = |Waiter { units, answer, .. }: Waiter| (answer, self.shed(Why::Moved, units, Priority::Normal, now));
        gone.into_iter().map(shed).collect()
    }

    /// How many units have to leave until a newcomer fits.
    fn missing(&self, units: u64, priority: Priority) -> f64 {
        let ahead: f64 = self.queue.ahead(priority).map(|waiter| self.cost(waiter.units) as f64).sum();
        let own = if units == 0 { 0.0 } else { self.cost(units) as f64 };
        self.used() as f64 + ahead + own - self.allowed() as f64
    }

    /// When a newcomer would have room, by this kind of guess.
    fn pace_until(
        &self,
        units: u64,
        priority: Priority,
        guess: fn(&Pace, f64, Now) -> Duration,
        now: Instant,
    ) -> Duration {
        let missing = self.missing(units.max(1), priority);
        if missing > 0.0 { guess(&self.pace, missing, self.now(now)) } else { Duration::ZERO }
    }

    /// How long a usual newcomer would wait.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of what was a u64")]
    pub fn expected_wait(&self, now: Instant) -> Duration {
        self.pace_until(self.usual() as u64, Priority::Normal, Pace::mean, now)
    }

    fn now(&self, at: Instant) -> Now {
        Now { at, used: self.used() as f64, usual: self.usual() }
    }

    /// Takes in how long an answer took, and lets in for whom there is room then.
    pub fn learn(&mut self, entry: &Entry, kind: Kind, class: u8, took: Duration, now: Instant) -> Turns {
        let calm = entry.load.requests <= u64::from(self.config.min_limit.get());
        let took = took.as_secs_f64();
        let bases = match kind {
            Kind::FirstToken => &mut self.first_token,
            Kind::Whole => &mut self.whole,
        };
        let Some(base) = bases.learn(class, took, calm, now) else { return Turns::new() };
        if !self.config.adaptive {
            return Turns::new();
        }
        let slack = Duration::from_millis(self.config.slack_ms).as_secs_f64();
        let sample = Sample {
            took,
            base,
            allowed: base * self.config.tolerance.factor() + slack,
            entered_at: entry.load.in_unit(self.unit()) as f64,
            running: self.running() as f64,
            in_flight: self.used() as f64,
        };
        self.limit.learn(sample, self.usual(), self.bounds(), now);
        self.turns(now)
    }

    /// Its first token has come.
    pub const fn run(&mut self, units: u64) {
        self.runs.add(units);
    }

    fn bounds(&self) -> Bounds {
        let [least, most, initial] = [self.config.min_limit, self.config.max_limit, self.config.initial_limit]
            .map(|limit| f64::from(limit.get()));
        match self.capacity {
            None => Bounds { least, most, initial: initial.min(most) },
            Some(capacity) => {
                let capacity = capacity as f64;
                Bounds { least: least * self.usual(), most: capacity, initial: capacity }
            }
        }
    }

    /// Counts in tokens from now on, or in requests.
    pub fn set_capacity(&mut self, tokens: Option<u64>, now: Instant) -> Turns {
        let before = std::mem::replace(&mut self.capacity, tokens);
        self.usual_tokens = self.usual_tokens.min(self.counted(u64::MAX) as f64);
        match (before, tokens) {
            (None, None) => {}
            // As much of it as before.
            (Some(before), Some(tokens)) => self.limit.value *= tokens as f64 / before.max(1) as f64,
            _ => {
                self.limit.restart(self.bounds().initial, now);
                self.pace = Pace::new(now);
            }
        }
        self.turns(now)
    }
}
