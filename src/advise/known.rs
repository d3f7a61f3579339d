//! Published shapes, which an unknown model is taken to be like.

use super::shape::{Experts, Shape};

/// A model's name and its shape.
pub type Known = (&'static str, Shape);

/// A dense shape: layers, hidden, feed forward, heads, heads of keys and values, weights of a head, vocabulary, tied.
const fn dense(numbers: [u64; 7], tied: bool) -> Shape {
    let [layers, hidden, feed_forward, heads, key_value_heads, head, vocabulary] = numbers;
    let (fused, experts) = (false, None);
    Shape { layers, hidden, feed_forward, heads, key_value_heads, head, vocabulary, tied, fused, experts }
}

const fn mixture(numbers: [u64; 7], count: u64, used: u64) -> Shape {
    Shape { experts: Some(Experts { count, used }), ..dense(numbers, false) }
}

/// Models by their makers' configurations: one or two of each size, so that what is estimated is like something real.
pub const KNOWN: [Known; 25] = [
    ("SmolLM2-135M", dense([30, 576, 1_536, 9, 3, 64, 49_152], true)),
    ("SmolLM2-360M", dense([32, 960, 2_560, 15, 5, 64, 49_152], true)),
    ("Qwen2.5-0.5B", dense([24, 896, 4_864, 14, 2, 64, 151_936], true)),
    ("TinyLlama-1.1B", dense([22, 2_048, 5_632, 32, 4, 64, 32_000], false)),
    ("Llama-3.2-1B", dense([16, 2_048, 8_192, 32, 8, 64, 128_256], true)),
    ("Qwen2.5-1.5B", dense([28, 1_536, 8_960, 12, 2, 128, 151_936], true)),
    ("Qwen2.5-3B", dense([36, 2_048, 11_008, 16, 2, 128, 151_936], true)),
    ("Phi-3-mini", Shape { fused: true, ..dense([32, 3_072, 8_192, 32, 32, 96, 32_064], false) }),
    ("Qwen3-4B", dense([36, 2_560, 9_728, 32, 8, 128, 151_936], true)),
    ("Llama-2-7B", dense([32, 4_096, 11_008, 32, 32, 128, 32_000], false)),
    ("Mistral-7B", dense([32, 4_096, 14_336, 32, 8, 128, 32_000], false)),
    ("Qwen2.5-7B", dense([28, 3_584, 18_944, 28, 4, 128, 152_064], false)),
    ("Llama-3.1-8B", dense([32, 4_096, 14_336, 32, 8, 128, 128_256], false)),
    ("gemma-2-9b", dense([42, 3_584, 14_336, 16, 8, 256, 256_000], true)),
    ("Llama-2-13B", dense([40, 5_120, 13_824, 40, 40, 128, 32_000], false)),
    ("Qwen2.5-14B", dense([48, 5_120, 13_824, 40, 8, 128, 152_064], false)),
    ("Qwen2.5-32B", dense([64, 5_120, 27_648, 40, 8, 128, 152_064], false)),
    ("Llama-3.1-70B", dense([80, 8_192, 28_672, 64, 8, 128, 128_256], false)),
    ("Qwen2.5-72B", dense([80, 8_192, 29_568, 64, 8, 128, 152_064], false)),
    ("Llama-3.1-405B", dense([126, 16_384, 53_248, 128, 8, 128, 128_256], false)),
    ("Mixtral-8x7B", mixture([32, 4_096, 14_336, 32, 8, 128, 32_000], 8, 2)),
    ("Mixtral-8x22B", mixture([56, 6_144, 16_384, 48, 8, 128, 32_768], 8, 2)),
    ("Qwen3-30B-A3B", mixture([48, 2_048, 768, 32, 4, 128, 151_936], 128, 8)),
    ("gpt-oss-120b", mixture([36, 2_880, 2_880, 64, 8, 64, 201_088], 128, 4)),
    ("Qwen3-235B-A22B", mixture([94, 4_096, 1_536, 64, 4, 128, 151_936], 128, 8)),
];

#[cfg(test)]
pub fn named(name: &str) -> Option<Shape> {
    KNOWN.into_iter().find(|(one, _)| *one == name).map(|(_, shape)| shape)
}

/// The shape whose parameters are nearest in proportion, and those that work on a token where that is asked for.
pub fn nearest(published: &[Known], parameters: u64, active: Option<u64>, is_mixture: bool) -> Known {
    let distance = |shape: &Shape| {
        let apart = |one: u64, other: u64| (one as f64 / other as f64).ln().abs();
        apart(shape.parameters(), parameters) + active.map_or(0.0, |active| apart(shape.active(), active))
    };
    let fitting = published.iter().filter(|(_, shape)| shape.experts.is_some() == is_mixture);
    // There is one of each kind.
    fitting.min_by(|one, other| distance(&one.1).total_cmp(&distance(&other.1))).copied().unwrap_or(KNOWN[0])
}
