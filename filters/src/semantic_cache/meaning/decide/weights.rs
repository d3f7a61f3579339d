//! Made by `make calibrate-cache` from the training texts; not written by hand.

use super::features::Features;

pub const BIAS: f32 = 2.99997;
pub const WEIGHTS: Features = [
    -2.57658, // cosine
    -0.96631, // gate_cosine
    -4.88774, // cosine_squared
    0.71267,  // shared_content
    1.05937,  // shared_pairs
    0.13784,  // only_asked
    0.08041,  // only_candidate
    0.15305,  // one_for_one
    -0.78895, // same_content
    0.21648,  // differing_cosine
    -0.78641, // one_for_one_cosine
    -0.21752, // added_only
    0.73672,  // length_ratio
    -1.93864, // few_words
    0.29463,  // same_beginning
    0.18019,  // cosine_by_shared
    3.46409,  // one_replaced
    0.04997,  // one_replaced_cosine
];
