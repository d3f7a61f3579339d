//! A short key for whose calls of which model, and the name that a model goes by here.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use twox_hash::XxHash3_128;

/// A longer name is nobody's model.
const LONGEST_NAME: usize = 128;
const OTHER: &str = "_OTHER";

/// Stands for a tenant or a backend, and a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairing(u128);

/// It is as good as random already.
impl Hash for Pairing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 as u64);
    }
}

/// Another in each process, so that nobody can prepare names that are taken for each other.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

impl Pairing {
    /// Of a name of any length, and a model's of at most [`LONGEST_NAME`].
    pub fn of(whose: &[u8], model: &str) -> Self {
        let whose = XxHash3_128::oneshot_with_seed(*SEED, whose).to_le_bytes();
        let mut bytes = [0; 16 + LONGEST_NAME];
        let end = whose.len() + model.len().min(LONGEST_NAME);
        bytes[..whose.len()].copy_from_slice(&whose);
        bytes[whose.len()..end].copy_from_slice(&model.as_bytes()[..end - whose.len()]);
        Pairing(XxHash3_128::oneshot_with_seed(*SEED, &bytes[..end]))
    }
}

/// The name that a model goes by here.
pub fn named(model: &str) -> &str {
    if model.len() <= LONGEST_NAME { model } else { OTHER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_owner_or_another_model_has_another_key() {
        let keys = [("a", "m"), ("b", "m"), ("a", "n"), ("am", ""), ("", "am")];
        let keys = keys.map(|(whose, model)| Pairing::of(whose.as_bytes(), model));
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(at));
        }
    }

    #[test]
    fn a_name_too_long_for_a_model_is_told_as_other() {
        let longest = "x".repeat(LONGEST_NAME);
        assert_eq!((named("m"), named(&longest)), ("m", longest.as_str()));
        assert_eq!(named(&"x".repeat(LONGEST_NAME + 1)), "_OTHER");
    }
}
