//! Exact logs: what has been let in, judged afterwards, and what others would have let in.
//!
//! A window has both its ends: two charges exactly its length apart lie in it. Times are whole microseconds, and
//! those of Mooncake's trace multiples of three seconds, so that such pairs are many.

use std::collections::{BTreeMap, VecDeque};

use crate::trace::{Micros, Request, WINDOW};

/// What was charged when, in order of time.
pub type Log = Vec<(Micros, u64)>;

/// The most in any window.
pub fn most(log: &[(Micros, u64)]) -> u64 {
    let mut window = Window::default();
    let sums = log.iter().map(|(at, amount)| {
        window.charge(*at, *amount);
        window.sum(*at)
    });
    sums.max().unwrap_or(0)
}

pub fn sum(log: &[(Micros, u64)]) -> u64 {
    log.iter().map(|(_, amount)| amount).sum()
}

/// What an exact log lets in if each request costs so much, known when it comes.
pub fn exact(requests: &[Request], amount: u64, cost: impl Fn(&Request) -> u64) -> Log {
    let mut window = Window::default();
    let mut log = Log::new();
    for request in requests {
        if window.sum(request.at) + cost(request) <= amount {
            window.charge(request.at, cost(request));
            log.push((request.at, cost(request)));
        }
    }
    log
}

/// What is let in, while there is room, by a limit that charges the tokens of an answer when it has ended.
pub fn charged_after(requests: &[Request], amount: u64) -> Log {
    let (mut window, mut log) = (Window::default(), Log::new());
    // Answers under way, by when they end.
    let mut open: BTreeMap<(Micros, usize), u64> = BTreeMap::new();
    for (number, request) in requests.iter().enumerate() {
        while let Some(ended) = open.first_entry()
            && ended.key().0 <= request.at
        {
            let ((end, _), tokens) = ended.remove_entry();
            window.charge(end, tokens);
        }
        if window.sum(request.at) < amount {
            open.insert((request.at + request.takes(), number), request.tokens());
            log.push((request.at, request.tokens()));
        }
    }
    log
}

#[derive(Default)]
struct Window {
    charges: VecDeque<(Micros, u64)>,
    sum: u64,
}

impl Window {
    fn charge(&mut self, at: Micros, amount: u64) {
        self.charges.push_back((at, amount));
        self.sum += amount;
    }

    fn sum(&mut self, now: Micros) -> u64 {
        while let Some((at, amount)) = self.charges.front()
            && at + WINDOW < now
        {
            self.sum -= amount;
            self.charges.pop_front();
        }
        self.sum
    }
}
