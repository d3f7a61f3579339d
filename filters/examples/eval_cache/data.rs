//! The texts: CLINC150 and BANKING77, whose intents say which deserve the same answer, and pairs by hand.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A prompt, and what it asks for. Two of `oos`, out of scope, never ask for the same.
#[derive(Clone, Deserialize)]
pub struct Prompt {
    pub text: String,
    pub group: String,
}

/// Whether `b` may have the answer of `a`.
#[derive(Clone, Deserialize)]
pub struct Pair {
    pub a: String,
    pub b: String,
    pub same: bool,
    pub kind: String,
}

impl Prompt {
    pub fn is_like(&self, other: &Prompt) -> bool {
        self.group == other.group && self.group != "oos"
    }
}

pub fn read<T: DeserializeOwned>(name: &str) -> anyhow::Result<Vec<T>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/semantic").join(name);
    let lines = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
