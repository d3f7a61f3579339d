//! A trace of prompts sent to backends with prefix caches, for the test and for the bench.
//!
//! A backend prefills one prompt after the other, 8,000 tokens a second, and leaves out what its cache holds; then
//! it writes an answer, all at once beside each other, 30 ms a token. So a backend that is asked too much, or that
//! finds too little in its cache, has more in flight, as a real one would. What was asked is in the cache at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::{Affinity, Blocks};

const BLOCK_TOKENS: u64 = 512;
const PREFILLED_A_SECOND: f64 = 8_000.0;
const SECONDS_A_TOKEN: f64 = 0.030;
const WINDOW: f64 = 60.0;

#[derive(serde::Deserialize)]
pub struct Request {
    /// Milliseconds.
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    /// Of each block of 512 tokens, with all before it.
    hash_ids: Vec<u64>,
}

/// In Mooncake's form: a JSON object a line.
pub fn read(path: &str) -> Vec<Request> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let requests = text.lines().map(serde_json::from_str);
    requests.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sample of Mooncake's trace of conversations that this repository keeps.
pub fn sample() -> String {
    format!("{}/../loadtests/traces/mooncake-conversation.jsonl", env!("CARGO_MANIFEST_DIR"))
}

#[derive(Clone, Copy)]
pub enum Policy {
    /// With this bound on loads.
    Affinity(f64),
    RoundRobin,
    /// The one with less in flight of two that are drawn.
    LessOfTwo,
}

#[derive(Clone, Copy)]
pub struct Setup {
    pub backends: usize,
    /// Blocks that one backend's cache holds.
    pub capacity: usize,
    /// How many times faster than recorded the requests come.
    pub speed: f64,
    /// Backends of other names get other prompts: what is good with one set of names may be luck.
    pub names: usize,
}

/// What became of it.
pub struct Outcome {
    /// Blocks found in a cache, of all.
    pub hit_rate: f64,
    /// The busiest backend's requests over the mean: in all, and in the worst minute.
    pub requests: (f64, f64),
    /// The same of tokens, read and written.
    pub tokens: (f64, f64),
    /// From arrival to the end of the prefill, in seconds.
    pub first_token: f64,
    /// The mean over all arrivals, of one backend.
    pub in_flight: f64,
}

#[derive(Default)]
struct Engine {
    cache: Cache,
    /// When its prefill is done with all that it has.
    free: f64,
    in_flight: u64,
}

/// Least recently used first out; of one prompt the later blocks first, as without the earlier ones they are no use.
#[derive(Default)]
struct Cache {
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
    clock: u64,
}

impl Cache {
    /// How many leading blocks it had; then it has them all.
    fn take(&mut self, blocks: &[u64], capacity: usize) -> u64 {
        let found = blocks.iter().take_while(|block| self.used.contains_key(block)).count();
        for &block in blocks.iter().rev() {
            self.clock += 1;
            if let Some(before) = self.used.insert(block, self.clock) {
                self.order.remove(&before);
            }
            self.order.insert(self.clock, block);
        }
        while self.used.len() > capacity {
            let Some((_, block)) = self.order.pop_first() else { break };
            self.used.remove(&block);
        }
        found as u64
    }
}

struct Chooser {
    policy: Policy,
    affinity: Affinity,
    random: fastrand::Rng,
    turn: usize,
}

impl Chooser {
    fn choose(&mut self, request: &Request, engines: &[Engine]) -> usize {
        let backends = engines.len();
        match self.policy {
            Policy::Affinity(_) => {
                let key = self.affinity.key(&Blocks::from_hashes(&request.hash_ids));
                let candidates: Vec<_> = (0..backends).collect();
                self.affinity.choose(key, &candidates, |index| engines[index].in_flight).expect("a backend")
            }
            Policy::RoundRobin => {
                self.turn += 1;
                self.turn % backends
            }
            Policy::LessOfTwo => {
                let two = [self.random.usize(..backends), self.random.usize(..backends)];
                two.into_iter().min_by_key(|&index| engines[index].in_flight).expect("two")
            }
        }
    }
}

pub fn replay(requests: &[Request], policy: Policy, setup: Setup) -> Outcome {
    let names: Vec<_> = (0..setup.backends).map(|index| format!("http://10.0.{}.{index}:8000", setup.names)).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    let factor = if let Policy::Affinity(factor) = policy { factor } else { 1.0 };
    let affinity = Affinity::new(&members, factor);
    let mut chooser = Chooser { policy, affinity, random: fastrand::Rng::with_seed(7), turn: 0 };
    let mut engines: Vec<_> = (0..setup.backends).map(|_| Engine::default()).collect();
    // Ends in microseconds, and whose.
    let mut ends = BinaryHeap::new();
    let (mut found, mut blocks, mut waits, mut in_flight) = (0, 0, 0.0, 0);
    let mut loads = Loads::new(setup.backends);
    for request in requests {
        let now = request.timestamp / 1_000.0 / setup.speed;
        while let Some(&Reverse((end, index))) = ends.peek().filter(|Reverse((end, _))| *end as f64 <= now * 1e6) {
            let _: (u64, usize) = (end, index);
            engines[index].in_flight -= 1;
            ends.pop();
        }
        in_flight += engines.iter().map(|engine| engine.in_flight).sum::<u64>();
        let index = chooser.choose(request, &engines);
        let engine = &mut engines[index];
        let hits = engine.cache.take(&request.hash_ids, setup.capacity);
        let prefill = request.input_length.saturating_sub(hits * BLOCK_TOKENS) as f64 / PREFILLED_A_SECOND;
        engine.free = engine.free.max(now) + prefill;
        engine.in_flight += 1;
        let end = engine.free + request.output_length as f64 * SECONDS_A_TOKEN;
        ends.push(Reverse(((end * 1e6) as u64, index)));
        waits += engine.free - now;
        (found, blocks) = (found + hits, blocks + request.hash_ids.len() as u64);
        loads.add(now, index, request.input_length + request.output_length);
    }
    let count = requests.len() as f64;
    Outcome {
        hit_rate: found as f64 / blocks as f64,
        requests: loads.busiest(|load| load.0),
        tokens: loads.busiest(|load| load.1),
        first_token: waits / count,
        in_flight: in_flight as f64 / count / setup.backends as f64,
    }
}

/// With so many sets of names for the backends: who gets which prompts is chance, and one set may be a lucky one.
pub fn replay_all(requests: &[Request], policy: Policy, setup: Setup, sets: usize) -> Vec<Outcome> {
    (0..sets).map(|names| replay(requests, policy, Setup { names, ..setup })).collect()
}

/// The least, the middle and the most of what the outcomes say.
pub fn spread(outcomes: &[Outcome], what: impl Fn(&Outcome) -> f64) -> [f64; 3] {
    let mut values: Vec<_> = outcomes.iter().map(what).collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// Requests and tokens of each backend, in all and in each minute.
struct Loads {
    all: Vec<(u64, u64)>,
    minutes: Vec<Vec<(u64, u64)>>,
}

impl Loads {
    fn new(backends: usize) -> Self {
        Loads { all: vec![(0, 0); backends], minutes: Vec::new() }
    }

    fn add(&mut self, now: f64, index: usize, tokens: u64) {
        let minute = (now / WINDOW) as usize;
        while self.minutes.len() <= minute {
            self.minutes.push(vec![(0, 0); self.all.len()]);
        }
        for load in [&mut self.all[index], &mut self.minutes[minute][index]] {
            *load = (load.0 + 1, load.1 + tokens);
        }
    }

    /// The last minute is a part of one and says nothing.
    fn busiest(&self, what: impl Fn(&(u64, u64)) -> u64) -> (f64, f64) {
        let over_mean = |loads: &Vec<(u64, u64)>| {
            let sum: u64 = loads.iter().map(&what).sum();
            loads.iter().map(&what).max().unwrap_or(0) as f64 * loads.len() as f64 / sum.max(1) as f64
        };
        let whole = &self.minutes[..self.minutes.len().saturating_sub(1)];
        (over_mean(&self.all), whole.iter().map(over_mean).fold(0.0, f64::max))
    }
}
