//! How many of a single prefix cache's hits remain when there are four, and how even their load is:
//! `cargo bench -p outrigger-filters --bench affinity`.
//!
//! Replays the sample of Mooncake's trace of conversations in loadtests/traces, or the traces in that form whose paths
//! follow after `--`, against backends that `src/breaker/affinity/replay.rs` describes. Exits with 1 where of the
//! sample less than nine tenths of the hits remain, or the busiest backend has more than 1.25 times the mean.

#[path = "../src/breaker/affinity/replay.rs"]
mod replay;

use std::hint::black_box;
use std::process::ExitCode;

use bytes::Bytes;
use http::HeaderMap;
use outrigger_filters::ask::Sharing;
// Where the replay looks for them.
use outrigger_filters::breaker::affinity::{Affinity, Blocks};
use outrigger_filters::{Ask, Route, Tenant};
use replay::{Outcome, Policy, Request, Setup, spread};
use serde_json::json;
use tokio::time::Instant;

const BACKENDS: usize = 4;
const FACTOR: f64 = 1.25;
/// Sets of names for the backends.
const NAMES: usize = 16;
const KEPT: f64 = 0.9;
const BUSIEST: f64 = 1.25;

fn main() -> ExitCode {
    let mut paths: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let by_default = paths.is_empty();
    if by_default {
        paths.push(replay::sample());
    }
    let mut missed = false;
    for path in &paths {
        let requests = replay::read(path);
        println!(
            "{path}: {} requests, {BACKENDS} backends, the middle (least..most) of {NAMES} sets of names",
            requests.len()
        );
        for speed in [0.3, 1.0] {
            println!("  at {speed} times the recorded rate");
            missed |= unbounded(&requests, speed) && by_default && speed == 1.0;
        }
        bounded(&requests);
    }
    costs();
    if missed {
        println!("MISSED: at least {KEPT} of the hits and at most {BUSIEST} times the mean are wanted");
    }
    ExitCode::from(u8::from(missed))
}

/// Whether a bar is missed, with caches that never forget.
fn unbounded(requests: &[Request], speed: f64) -> bool {
    let setup = Setup { backends: BACKENDS, capacity: usize::MAX, speed, names: 0 };
    let single = replay::replay(requests, Policy::RoundRobin, Setup { backends: 1, ..setup }).hit_rate;
    println!("    {:28} hits {single:.4}", "one cache for all");
    let ours = replay::replay_all(requests, Policy::Affinity(FACTOR), setup, NAMES);
    told("prefix affinity", &ours, single);
    told("prefix affinity, no bound", &replay::replay_all(requests, Policy::Affinity(1e9), setup, NAMES), single);
    told("round robin", &[replay::replay(requests, Policy::RoundRobin, setup)], single);
    told("less in flight of two", &[replay::replay(requests, Policy::LessOfTwo, setup)], single);
    let middle = |what: fn(&Outcome) -> f64| spread(&ours, what)[1];
    let busiest = middle(|outcome| outcome.requests.0).max(middle(|outcome| outcome.tokens.0));
    middle(|outcome| outcome.hit_rate) < KEPT * single || busiest > BUSIEST
}

/// Caches that hold so many blocks and forget what was used longest ago.
fn bounded(requests: &[Request]) {
    for capacity in [2_000, 8_000, 32_000] {
        let setup = Setup { backends: BACKENDS, capacity, speed: 1.0, names: 0 };
        let single = replay::replay(requests, Policy::RoundRobin, Setup { backends: 1, ..setup }).hit_rate;
        println!("  one cache of {capacity} blocks: hits {single:.4}");
        for (size, capacity) in [("a quarter", capacity / BACKENDS), ("as much", capacity)] {
            let setup = Setup { capacity, ..setup };
            let ours = replay::replay_all(requests, Policy::Affinity(FACTOR), setup, NAMES);
            told(&format!("prefix affinity, each {size}"), &ours, single);
            told(&format!("round robin, each {size}"), &[replay::replay(requests, Policy::RoundRobin, setup)], single);
        }
    }
}

fn told(name: &str, outcomes: &[Outcome], single: f64) {
    let of = |what: &dyn Fn(&Outcome) -> f64| {
        let [least, middle, most] = spread(outcomes, what);
        if outcomes.len() == 1 { format!("{middle:.3}") } else { format!("{middle:.3} ({least:.3}..{most:.3})") }
    };
    println!(
        "    {name:28} hits {}, {} of the single cache's; busiest over mean: requests {}, in the worst minute {}; \
         tokens {}, in the worst minute {}; prefilled after {} s; in flight {}",
        of(&|outcome| outcome.hit_rate),
        of(&|outcome| outcome.hit_rate / single),
        of(&|outcome| outcome.requests.0),
        of(&|outcome| outcome.requests.1),
        of(&|outcome| outcome.tokens.0),
        of(&|outcome| outcome.tokens.1),
        of(&|outcome| outcome.first_token),
        of(&|outcome| outcome.in_flight),
    );
}

/// What a request pays for its place.
fn costs() {
    let line =
        "She said \"no\" to the quick brown fox; it jumped over the lazy dog anyway,\nand then sat down for a while. ";
    let text = |bytes: usize| line.chars().cycle().take(bytes).collect::<String>();
    let conversation = |turns: usize, bytes: usize| {
        let message =
            |turn| json!({ "role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": text(bytes) });
        (0..turns).map(message).collect::<Vec<_>>()
    };
    let chat = |messages| (Route::ChatCompletions, json!({ "model": "m", "messages": messages }));
    let behind = json!({ "messages": conversation(64, 1_000), "model": "m", "system": text(2_000) });
    let affinity = Affinity::new(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)], FACTOR);
    for (name, (route, body)) in [
        ("1 KB, one message", chat(conversation(1, 950))),
        ("64 KB, 64 messages", chat(conversation(64, 1_000))),
        ("64 KB, one message", chat(conversation(1, 64_000))),
        ("64 KB, Messages API, the system behind", (Route::Messages, behind)),
    ] {
        let body = Bytes::from(body.to_string());
        let (tenant, target) = (Tenant::anonymous(), route.path().to_owned());
        let ask = Ask::read(route, tenant, target, HeaderMap::new(), body, Sharing::Allowed).expect("good JSON");
        let blocks = Blocks::of(&ask);
        let cut = nanoseconds(|| {
            black_box(Blocks::of(black_box(&ask)));
        });
        let placed = nanoseconds(|| {
            let key = affinity.key(black_box(&blocks));
            black_box(affinity.choose(key, &[0, 1, 2, 3], |index| index as u64));
        });
        println!("  {name:40} blocks {cut:>8.0} ns, key and choice {placed:>6.0} ns");
    }
}

/// The best of five rounds.
fn nanoseconds(mut work: impl FnMut()) -> f64 {
    const TIMES: u32 = 2_000;
    let mut round = || {
        let begun = Instant::now();
        (0..TIMES).for_each(|_| work());
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
}
