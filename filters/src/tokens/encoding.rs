//! Text to a number of tokens.

use std::path::Path;
use std::sync::OnceLock;

use super::file::Model;

pub enum Encoding {
    OpenAi(OpenAi),
    File(Box<Model>),
}

/// The two encodings of OpenAI's models that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAi {
    /// gpt-4, gpt-3.5, and the embedding models.
    Cl100k,
    /// gpt-4o and everything newer.
    O200k,
}

static CL100K: Encoding = Encoding::OpenAi(OpenAi::Cl100k);
static O200K: Encoding = Encoding::OpenAi(OpenAi::O200k);
static CL100K_LOADED: OnceLock<&bpe_openai::Tokenizer> = OnceLock::new();
static O200K_LOADED: OnceLock<&bpe_openai::Tokenizer> = OnceLock::new();

impl OpenAi {
    /// By the model's name; a model of somebody else is counted as OpenAI's newest.
    pub fn of(model: &str) -> Self {
        // A hosted API may name the provider first.
        let model = model.rsplit('/').next().unwrap_or(model);
        let newer = ["gpt-4o", "gpt-4.1", "gpt-4.5"].iter().any(|name| model.starts_with(name));
        let older = ["gpt-4", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada-002"];
        match !newer && older.iter().any(|name| model.starts_with(name)) {
            true => OpenAi::Cl100k,
            false => OpenAi::O200k,
        }
    }

    pub fn encoding(self) -> &'static Encoding {
        match self {
            OpenAi::Cl100k => &CL100K,
            OpenAi::O200k => &O200K,
        }
    }

    fn loaded(self) -> &'static OnceLock<&'static bpe_openai::Tokenizer> {
        match self {
            OpenAi::Cl100k => &CL100K_LOADED,
            OpenAi::O200k => &O200K_LOADED,
        }
    }

    fn tokenizer(self) -> &'static bpe_openai::Tokenizer {
        self.loaded().get_or_init(|| match self {
            OpenAi::Cl100k => bpe_openai::cl100k_base(),
            OpenAi::O200k => bpe_openai::o200k_base(),
        })
    }
}

impl Encoding {
    pub fn read(file: &Path, template: Option<&Path>) -> Result<Self, String> {
        Ok(Encoding::File(Box::new(Model::read(file, template)?)))
    }

    /// The model's own files, where there are any.
    pub fn model(&self) -> Option<&Model> {
        match self {
            Encoding::OpenAi(_) => None,
            Encoding::File(model) => Some(model),
        }
    }

    /// Bodies up to this length are counted in about 200 µs; none while the encoding is not loaded.
    pub fn in_place_bytes(&self) -> usize {
        match self {
            Encoding::OpenAi(encoding) if encoding.loaded().get().is_none() => 0,
            Encoding::OpenAi(_) => 4 * 1024,
            Encoding::File(_) => 512,
        }
    }

    /// What is counted of one question: 100 ms of work at worst with OpenAI's encodings, 500 ms with a file.
    pub fn most_bytes(&self) -> usize {
        match self {
            Encoding::OpenAi(_) => 1024 * 1024,
            Encoding::File(_) => 128 * 1024,
        }
    }

    pub fn count(&self, text: &str) -> u64 {
        match self {
            Encoding::OpenAi(encoding) => encoding.tokenizer().count(text) as u64,
            Encoding::File(model) => model.count(text),
        }
    }
}
