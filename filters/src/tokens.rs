//! How many tokens a text or a question has, counted before the backend sees it.
//!
//! OpenAI's encodings are counted with `bpe-openai`, whose time is linear in the text, whatever it is. On
//! one core of a small virtual machine, 256 KB of English, code or JSON took it 9 to 10 ms, the worst
//! text that was found (letters without spaces) 27 ms, and 1 KB 40 to 100 µs; `tiktoken-rs` took 16 to 30 ms
//! and up to 200 ms. Both give the same count for 138,000 prompts, sources and lines of JSON. The first
//! count loads an encoding, in 80 to 140 ms and 33 to 68 MB; nothing is loaded where nobody counts.
//!
//! Where a model's own files are given, its prompts are counted as its engine counts them: rendered by its chat
//! template, then encoded.
//!
//! A `tokenizer.json` is read with `tokenizers`, the library that wrote it. It takes 0.3 to 1 ms for 1 KB,
//! ten times as long; so there is a bound to what is counted of one question: the rest is taken to be
//! like it. A client cannot keep a core busy for seconds with one prompt, and what it understates this way
//! is known when its answer has ended.

mod encoding;
mod file;
pub mod gguf;
mod prompt;
mod template;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Ask;
use crate::models::Models;
use encoding::{Encoding, OpenAi};

/// The tokenizer of some models: one `[[tokenizers]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names of models, names that end in `*`, or `*` for all. The first table that names a model counts for it.
    pub models: Vec<Models>,
    /// The `tokenizer.json` that lies beside the model's weights, or the weights themselves where they are a GGUF file.
    pub file: PathBuf,
    /// The model's chat template, in Jinja. Where none is given it is that of the GGUF file, or of the
    /// `chat_template.jinja` or `tokenizer_config.json` beside the tokenizer; without any, chats are counted
    /// by OpenAI's cookbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
}

/// How a model's own vocabulary encodes texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// By bytes: a text has the same tokens alone as behind another.
    Bytes,
    /// By pieces that know whether they begin a text.
    Pieces,
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no usable tokenizer: {reason}", file.display())]
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
        let load = |config: &Config| match Encoding::read(&config.file, config.chat_template.as_deref()) {
            Ok(encoding) => Ok((config.models.clone(), encoding)),
            Err(reason) => Err(Error { file: config.file.clone(), reason }),
        };
        Ok(Tokenizers { files: configs.iter().map(load).collect::<Result<_, _>>()? })
    }

    /// The tokens of a text, all of it: a caller bounds its length.
    pub fn text(&self, model: Option<&str>, text: &str) -> u64 {
        self.encoding(model).count(text)
    }

    /// The tokens of a question, whatever its length. It takes milliseconds for a long one.
    pub fn prompt(&self, ask: &Ask) -> u64 {
        prompt::count(ask, self.encoding(ask.question.model.as_deref()))
    }

    /// The tokens of a question. A long one is counted on another thread, so that nobody else waits: this
    /// holds a worker for at most about 200 µs.
    pub async fn count_prompt(self: &Arc<Self>, ask: &Arc<Ask>) -> u64 {
        let encoding = self.encoding(ask.question.model.as_deref());
        if ask.body.len() <= encoding.in_place_bytes() {
            return prompt::count(ask, encoding);
        }
        let (tokenizers, counted) = (self.clone(), ask.clone());
        let count = tokio::task::spawn_blocking(move || tokenizers.prompt(&counted));
        // It fails only if the tokenizer panics: then four bytes a token, as OpenAI's guide says.
        count.await.unwrap_or(ask.body.len() as u64 / 4)
    }

    /// Whether texts of this model are counted with its own vocabulary, and how.
    pub fn own(&self, model: Option<&str>) -> Option<Own> {
        let own = self.encoding(model).model()?;
        Some(if own.is_byte_level() { Own::Bytes } else { Own::Pieces })
    }

    fn encoding(&self, model: Option<&str>) -> &Encoding {
        let model = model.unwrap_or_default();
        let named = self.files.iter().find(|(models, _)| models.iter().any(|models| models.matches(model)));
        named.map_or_else(|| OpenAi::of(model).encoding(), |(_, encoding)| encoding)
    }
}

#[cfg(test)]
mod tests;
