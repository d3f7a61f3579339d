//! What tells two texts that mean the same from two that merely sound alike, in numbers.

use crate::semantic_cache::meaning::gate::Gate;
use crate::semantic_cache::meaning::guard::Reading;

pub const NAMES: [&str; 18] = [
    "cosine",
    "gate_cosine",
    "cosine_squared",
    "shared_content",
    "shared_pairs",
    "only_asked",
    "only_candidate",
    "one_for_one",
    "same_content",
    "differing_cosine",
    "one_for_one_cosine",
    "added_only",
    "length_ratio",
    "few_words",
    "same_beginning",
    "cosine_by_shared",
    "one_replaced",
    "one_replaced_cosine",
];

pub type Features = [f32; NAMES.len()];

pub fn features(asked: &Reading, candidate: &Reading, cosine: f32, gate: Option<&Gate>) -> Features {
    let (left, right) = (distinct(asked), distinct(candidate));
    let only_left: Vec<&str> = left.iter().copied().filter(|word| !right.contains(word)).collect();
    let only_right: Vec<&str> = right.iter().copied().filter(|word| !left.contains(word)).collect();
    let shared = left.len() - only_left.len();
    let all = shared + only_left.len() + only_right.len();
    let shared_content = ratio(shared, all);
    let one_for_one = flag(only_left.len() == 1 && only_right.len() == 1);
    let same_content = flag(only_left.is_empty() && only_right.is_empty());
    let both_differ = !only_left.is_empty() && !only_right.is_empty();
    let near = |left: &str, right: &str| gate.map_or(0.5, |gate| gate.vector(left).cosine(&gate.vector(right)));
    let differing = if both_differ { near(&only_left.join(" "), &only_right.join(" ")) } else { 0.0 };
    let one_replaced = flag(both_differ && is_one_replaced(&asked.stems, &candidate.stems));
    let whole = near(&asked.words.join(" "), &candidate.words.join(" "));
    let (long, short) = (asked.words.len().max(candidate.words.len()), asked.words.len().min(candidate.words.len()));
    [
        cosine,
        whole,
        cosine * cosine,
        shared_content,
        shared_pairs(asked, candidate),
        only_left.len().min(5) as f32,
        only_right.len().min(5) as f32,
        one_for_one,
        same_content,
        differing,
        one_for_one * differing,
        flag(!both_differ && same_content == 0.0),
        (long.max(1) as f32 / short.max(1) as f32).ln(),
        1.0 / (short.max(1) as f32),
        flag(asked.stems.first() == candidate.stems.first()),
        cosine * shared_content,
        one_replaced,
        one_replaced * differing,
    ]
}

/// Whether one word stands in the place of another, and all else is the same.
fn is_one_replaced(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().zip(right).filter(|(left, right)| left != right).count() == 1
}

fn distinct(reading: &Reading) -> Vec<&str> {
    let mut words: Vec<&str> = reading.content().collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// How many of all pairs of neighbouring words both have.
fn shared_pairs(left: &Reading, right: &Reading) -> f32 {
    let pairs = |reading: &'_ Reading| -> Vec<(String, String)> {
        reading.stems.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    };
    let (left, right) = (pairs(left), pairs(right));
    let shared = left.iter().filter(|pair| right.contains(pair)).count();
    ratio(shared, (left.len() + right.len()).saturating_sub(shared))
}

fn ratio(part: usize, whole: usize) -> f32 {
    if whole == 0 { 1.0 } else { part as f32 / whole as f32 }
}

fn flag(is: bool) -> f32 {
    f32::from(u8::from(is))
}
