//! How many tokens a text or a question has, counted before the backend sees it.

mod encoding;
mod prompt;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Ask;
use crate::models::Models;
use encoding::{Encoding, OpenAi};

/// Bodies up to this length are counted where they are: a worker is held for at most about 200 µs.
const IN_PLACE_BYTES: usize = 4 * 1024;

/// The tokenizer of some models: one `[[tokenizers]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names of models, names that end in `*`, or `*` for all. The first table that names a model counts for it.
    pub models: Vec<Models>,
    /// The `tokenizer.json` that lies beside the model's weights.
    pub file: PathBuf,
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no usable tokenizer.json: {reason}", file.display())]
pub struct Error {
    pub file: PathBuf,
    pub reason: String,
}

/// The tokenizers of all models: those of the settings, and OpenAI's for every other.
pub struct Tokenizers {
    files: Vec<(Vec<Models>, Encoding)>,
}

impl Tokenizers {
    /// Reads the files of the settings. OpenAI's encodings are loaded when the first count needs them.
    pub fn new(configs: &[Config]) -> Result<Self, Error> {
        let load = |config: &Config| match Encoding::read(&config.file) {
            Ok(encoding) => Ok((config.models.clone(), encoding)),
            Err(reason) => Err(Error { file: config.file.clone(), reason }),
        };
        Ok(Tokenizers { files: configs.iter().map(load).collect::<Result<_, _>>()? })
    }

    /// The tokens of a text.
    pub fn text(&self, model: Option<&str>, text: &str) -> u64 {
        self.encoding(model).count(text)
    }

    /// The tokens of a question, whatever its length. It takes milliseconds for a long one.
    pub fn prompt(&self, ask: &Ask) -> u64 {
        prompt::count(ask, self.encoding(ask.question.model.as_deref()))
    }

    /// The tokens of a question. A long one is counted on another thread, so that nobody else waits.
    pub async fn count_prompt(self: &Arc<Self>, ask: &Arc<Ask>) -> u64 {
        let encoding = self.encoding(ask.question.model.as_deref());
        if ask.body.len() <= IN_PLACE_BYTES && encoding.is_loaded() {
            return prompt::count(ask, encoding);
        }
        let (tokenizers, counted) = (self.clone(), ask.clone());
        let count = tokio::task::spawn_blocking(move || tokenizers.prompt(&counted));
        // It fails only if the tokenizer panics: then four bytes a token, as OpenAI's guide says.
        count.await.unwrap_or(ask.body.len() as u64 / 4)
    }

    fn encoding(&self, model: Option<&str>) -> &Encoding {
        let model = model.unwrap_or_default();
        let named = self.files.iter().find(|(models, _)| models.iter().any(|models| models.matches(model)));
        named.map_or_else(|| OpenAi::of(model).encoding(), |(_, encoding)| encoding)
    }
}

#[cfg(test)]
mod tests;
