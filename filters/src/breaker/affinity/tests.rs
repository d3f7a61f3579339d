use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::replay::{self, Policy, Setup};
use super::*;
use crate::ask::{Ask, Route, Sharing, Tenant};

const FOUR: [(&str, f64); 4] = [("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)];
const ALL: [usize; 4] = [0, 1, 2, 3];

fn blocks(route: Route, body: &str) -> Blocks {
    let (tenant, target) = (Tenant::anonymous(), route.path().to_owned());
    let body = Bytes::copy_from_slice(body.as_bytes());
    let ask = Ask::read(route, tenant, target, HeaderMap::new(), body, Sharing::Allowed).expect("good JSON");
    Blocks::of(&ask)
}

fn chat(messages: &[Value]) -> Blocks {
    blocks(Route::ChatCompletions, &json!({ "model": "m", "messages": messages }).to_string())
}

fn said(role: &str, text: impl Into<String>) -> Value {
    json!({ "role": role, "content": text.into() })
}

fn words(seed: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| random.lowercase()).collect()
}

#[test]
fn each_turn_of_a_conversation_goes_where_the_first_went() {
    let affinity = Affinity::new(&FOUR, 1.25);
    let system = words(0, 30_000);
    let mut conversations: Vec<_> =
        (1..=40).map(|seed| vec![said("system", &*system), said("user", words(seed, 50))]).collect();
    // The first round shows that everybody has the system prompt.
    let mut places = Vec::new();
    for turn in 0..20 {
        for (index, messages) in conversations.iter_mut().enumerate() {
            let key = affinity.key(&chat(messages));
            let place = affinity.choose(key, &ALL, |_| 0).expect("a backend");
            if turn == 1 {
                places.push(place);
            }
            assert!(turn < 1 || places[index] == place, "conversation {index} moved in turn {turn}");
            messages.extend([said("assistant", words(turn + 100, 700)), said("user", words(turn + 200, 90))]);
        }
    }
    for place in ALL {
        let here = places.iter().filter(|&&at| at == place).count();
        assert!((4..=18).contains(&here), "{here} of 40 conversations with one system prompt went to {place}");
    }
}

#[test]
fn a_lone_conversation_stays_though_it_is_all_there_is() {
    let affinity = Affinity::new(&FOUR, 1.25);
    let mut messages = vec![said("user", words(1, 3_000))];
    let first = affinity.key(&chat(&messages));
    for turn in 0..3_000 {
        if turn < 40 {
            messages.extend([said("assistant", words(turn, 500)), said("user", "go on")]);
        }
        assert_eq!(affinity.key(&chat(&messages)), first, "it moved in turn {turn}");
    }
}

#[test]
fn who_leaves_moves_his_own_keys_only() {
    let affinity = Affinity::new(&FOUR, 1.25);
    for key in 0..4_000 {
        let before = affinity.choose(mixed(key), &ALL, |_| 0);
        let after = affinity.choose(mixed(key), &[0, 1, 3], |_| 0);
        assert!(before == after || before == Some(2), "{key} went from {before:?} to {after:?} when 2 left");
    }
}

#[test]
fn weights_are_shares_of_the_keys() {
    let affinity = Affinity::new(&[("a", 1.0), ("b", 2.0), ("c", 5.0), ("none", 0.0), ("bad", f64::NAN)], 1.25);
    let mut got = [0u32; 5];
    for key in 0..80_000 {
        got[affinity.choose(mixed(key), &[0, 1, 2, 3, 4], |_| 0).expect("a backend")] += 1;
    }
    for (got, due) in got.into_iter().zip([10_000, 20_000, 50_000, 0, 0]) {
        assert!(got.abs_diff(due) <= due / 20, "{got} keys where {due} were due");
    }
    assert_eq!(affinity.choose(1, &[4, 3], |index| index as u64), Some(3), "with weights of none the idlest is taken");
    assert_eq!(affinity.choose(1, &[], |_| 0), None);
    assert_eq!(affinity.choose(1, &[77], |_| 0), None, "who is no member is no candidate");
}

#[test]
fn what_all_share_sends_nobody_to_one_place() {
    let affinity = Affinity::new(&FOUR, 1.25);
    let mut got = [0u32; 4];
    for request in 0..4_000u64 {
        let key = affinity.key(&Blocks::from_hashes(&[1, 2, 3, 1_000 + request, 9_000 + request]));
        got[affinity.choose(key, &ALL, |_| 0).expect("a backend")] += 1;
    }
    assert!(got.iter().all(|got| (800..=1_200).contains(got)), "{got:?} of 4,000, with nothing else to spread them");
    // What all share to the end is spread by the loads.
    let mut loads = [0u64; 4];
    for _ in 0..400 {
        let key = affinity.key(&Blocks::from_hashes(&[1; 8]));
        loads[affinity.choose(key, &ALL, |index| loads[index]).expect("a backend")] += 1;
    }
    assert!(loads.iter().all(|&load| load <= 130), "{loads:?} of 400, where 125 and 4 are allowed");
}

#[test]
fn what_is_not_the_models_changes_nothing() {
    let plain = [said("system", words(1, 5_000)), said("user", words(2, 5_000))];
    let marked = json!({
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "messages": [plain[0], { "role": "user", "content": [
            { "type": "text", "text": plain[1]["content"], "cache_control": { "type": "ephemeral" } } ] }],
        "temperature": 0.5,
        "model": "another",
    });
    assert_eq!(chat(&plain), blocks(Route::ChatCompletions, &marked.to_string()));
    assert_eq!(chat(&plain).hashes().len(), 5, "two and a half blocks of either, and the opening's end");
}

#[test]
fn the_system_prompt_comes_first_wherever_it_stands() {
    let (system, question) = (words(1, 5_000), said("user", words(2, 50)));
    for (route, first, rest) in [(Route::Messages, "system", "messages"), (Route::Responses, "instructions", "input")] {
        let front = format!(r#"{{"model":"m","{first}":"{system}","{rest}":[{question}]}}"#);
        let behind = format!(r#"{{"{rest}":[{question}],"model":"m","{first}":"{system}"}}"#);
        assert_eq!(blocks(route, &front), blocks(route, &behind), "{route:?}");
        let other = format!(r#"{{"{rest}":[{}],"{first}":"{system}"}}"#, said("user", "another"));
        let (one, other) = (blocks(route, &front), blocks(route, &other));
        assert_eq!(one.hashes()[..2], other.hashes()[..2], "{route:?}: one application's prompts begin alike");
        assert_ne!(one.hashes()[2], other.hashes()[2]);
    }
    let text = json!({ "model": "m", "input": "a text" }).to_string();
    assert_eq!(blocks(Route::Responses, &text).hashes().len(), 1);
    for prompt in [json!("a text"), json!(["a", "b"]), json!([1, 2, 3])] {
        let body = json!({ "model": "m", "prompt": prompt }).to_string();
        assert_eq!(blocks(Route::Completions, &body).hashes().len(), 1, "{body}");
    }
}

#[test]
fn all_sidecars_find_the_same_hashes() {
    let blocks = chat(&[said("user", "What is an outrigger?")]);
    assert_eq!(
        blocks.hashes(),
        [8_268_343_171_838_945_182],
        "the hash is another: sidecars of two versions will disagree"
    );
}

#[test]
fn hostile_bodies_do_no_harm() {
    let affinity = Affinity::new(&FOUR, 1.25);
    let deep = format!(r#"{{"messages":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let bodies = [
        "{}",
        r#"{"messages":null,"input":7,"prompt":{},"system":[[]]}"#,
        r#"{"messages":{"role":"user","content":[1.5,-2,true,null,[[]],{"text":{}}]}}"#,
        r#"{"messages":[{"role":{"role":"user"},"content":{"content":{"content":"x"}}}]}"#,
        r#"{"messages":[{"role":"user","content":"\ud800 \u0000"}]}"#,
        r#"{"messages":[{"r\u006fle":"us\u0065r","content":""}]}"#,
        &deep,
    ];
    for body in bodies {
        for route in Route::ALL {
            let ask = (Tenant::anonymous(), route.path().to_owned(), Bytes::copy_from_slice(body.as_bytes()));
            let Ok(ask) = Ask::read(route, ask.0, ask.1, HeaderMap::new(), ask.2, Sharing::Allowed) else { continue };
            let key = affinity.key(&Blocks::of(&ask));
            assert!(affinity.choose(key, &ALL, |_| u64::MAX).is_some(), "{body}");
        }
    }
    let endless = chat(&[said("user", words(1, 3 << 20))]);
    assert_eq!(endless.hashes().len(), 8, "three million bytes are no more than eight blocks");
}

proptest! {
    #[test]
    fn nobody_gets_more_than_his_bound(
        weights in proptest::collection::vec(0.1..10.0f64, 1..9),
        loads in proptest::collection::vec(0..500u64, 9),
        factor in 1.0..3.0f64,
        key: u64,
    ) {
        let names: Vec<_> = (0..weights.len()).map(|index| index.to_string()).collect();
        let members: Vec<_> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let all: Vec<_> = (0..weights.len()).collect();
        let chosen = Affinity::new(&members, factor).choose(key, &all, |index| loads[index]);
        let chosen = chosen.expect("there is always one with room");
        let (sum, weight): (u64, f64) = (loads[..weights.len()].iter().sum(), weights.iter().sum());
        let bound = (factor * (sum + 1) as f64 * weights[chosen] / weight + 1e-9).ceil() + FREE;
        prop_assert!((loads[chosen] + 1) as f64 <= bound, "{} of {sum} is above {bound}", loads[chosen] + 1);
    }

    #[test]
    fn any_json_has_blocks_or_none(text in ".{0,300}", role in "user|system|assistant|\\PC{0,9}", at in 0..5usize) {
        let body = json!({
            "messages": [{ "role": role, "content": text, "tool_calls": [{ "function": { "arguments": text } }] }],
            "system": [{ "text": text }], "input": [text, 1], "prompt": text, "instructions": 5,
        });
        prop_assert!(blocks(Route::ALL[at], &body.to_string()).hashes().len() <= 8);
    }
}

/// The short form of `cargo bench -p outrigger-filters --bench affinity`.
#[test]
fn nine_in_ten_of_a_single_caches_hits_remain_and_no_backend_has_a_quarter_more() {
    let requests = replay::read(&replay::sample());
    let setup = |backends| Setup { backends, capacity: usize::MAX, speed: 1.0, names: 0 };
    let single = replay::replay(&requests, Policy::RoundRobin, setup(1)).hit_rate;
    let ours = replay::replay_all(&requests, Policy::Affinity(1.25), setup(4), 9);
    let middle = |what: fn(&replay::Outcome) -> f64| replay::spread(&ours, what)[1];
    let kept = middle(|outcome| outcome.hit_rate) / single;
    assert!(kept >= 0.9, "{kept:.3} of a single cache's hits remain");
    let (requests_over, tokens_over) = (middle(|outcome| outcome.requests.0), middle(|outcome| outcome.tokens.0));
    assert!(requests_over <= 1.25, "the busiest backend has {requests_over:.3} times the mean of the requests");
    assert!(tokens_over <= 1.25, "the busiest backend has {tokens_over:.3} times the mean of the tokens");
    for other in [Policy::RoundRobin, Policy::LessOfTwo] {
        let other = replay::replay(&requests, other, setup(4));
        let kept = other.hit_rate / single;
        assert!(kept < 0.6 && other.in_flight > 10.0, "the trace tells nothing: with any policy {kept:.3} remain");
        let (first, theirs) = (middle(|outcome| outcome.first_token), other.first_token);
        assert!(first < theirs, "the first token comes after {first:.1} s, with another policy after {theirs:.1} s");
    }
}
