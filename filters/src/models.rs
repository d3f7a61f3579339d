//! Which models a setting is for.

use serde::{Deserialize, Serialize};

/// A model's name, or the beginning of one before a `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Models(String);

impl Models {
    pub fn all() -> Vec<Models> {
        vec![Models("*".to_owned())]
    }

    pub fn matches(&self, model: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => self.0 == model,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_any_rest() {
        let matches = |pattern: &str, model: &str| Models(pattern.to_owned()).matches(model);
        assert!(matches("m", "m") && !matches("m", "m2") && !matches("m", ""));
        assert!(matches("m*", "m") && matches("m*", "m2") && !matches("m*", "n"));
        assert!(matches("*", "anything") && matches("*", ""));
    }
}
