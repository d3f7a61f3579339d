//! The model that says what a text means, in one session on one core.

use std::path::Path;

use fastembed::{InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use ort::environment::Environment;

use super::Error;

/// What the model reads of a text; what is longer is not matched by meaning at all.
pub const MAX_TOKENS: usize = 128;
const POOLING: &[u8] = b"mean, 128 tokens, length one";

/// What makes vectors out of texts. The pool is tested with one that needs no model.
pub trait Embed: Send + 'static {
    /// One vector a text.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String>;

    /// Whether the model reads only a part of the text.
    fn is_too_long(&self, text: &str) -> bool;
}

/// The files of a model, as they lie in its folder.
pub struct Files {
    model: UserDefinedEmbeddingModel,
    pub fingerprint: [u8; 16],
}

impl Files {
    /// `model.onnx` and `tokenizer.json` must be there. Of the three small ones, what BERT's models have is assumed.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let must = |name: &str| {
            let file = folder.join(name);
            std::fs::read(&file).map_err(|error| Error::Model { file, reason: error.to_string() })
        };
        let may = |name: &str, usual: &str| std::fs::read(folder.join(name)).unwrap_or_else(|_| usual.into());
        let (onnx, tokenizer) = (must("model.onnx")?, must("tokenizer.json")?);
        let mut hasher = blake3::Hasher::new();
        for part in [&onnx, &tokenizer] {
            hasher.update(blake3::hash(part).as_bytes());
        }
        hasher.update(POOLING);
        let mut fingerprint = [0; 16];
        hasher.finalize_xof().fill(&mut fingerprint);
        let files = TokenizerFiles {
            tokenizer_file: tokenizer,
            config_file: may("config.json", r#"{"pad_token_id": 0}"#),
            special_tokens_map_file: may("special_tokens_map.json", "{}"),
            tokenizer_config_file: may("tokenizer_config.json", r#"{"model_max_length": 512, "pad_token": "[PAD]"}"#),
        };
        let model = UserDefinedEmbeddingModel::new(onnx, files).with_pooling(Pooling::Mean);
        Ok(Files { model, fingerprint })
    }

    /// A session of its own: the library runs one text or batch at a time in each.
    pub fn open(&self, folder: &Path, environment: &Environment) -> Result<Session, Error> {
        // Else it would start a thread for each core, for batches that are a handful of texts.
        tokenizers::utils::parallelism::set_parallelism(false);
        let options = InitOptionsUserDefined::new()
            .with_environment(environment.clone())
            .with_max_length(MAX_TOKENS)
            .with_intra_threads(1);
        let opened = TextEmbedding::try_new_from_user_defined(self.model.clone(), options);
        let failed = |reason: String| Error::Model { file: folder.join("model.onnx"), reason };
        opened.map(Session).map_err(|error| failed(error.to_string()))
    }
}

pub struct Session(TextEmbedding);

impl Embed for Session {
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.0.embed(texts, None).map_err(|error| error.to_string())
    }

    fn is_too_long(&self, text: &str) -> bool {
        // A token has one byte at least, and two are the model's own.
        if text.len() + 2 < MAX_TOKENS {
            return false;
        }
        // The tokenizer cuts what is longer, so a text that fills it may have been cut.
        self.0.tokenizer.encode(text, true).map_or(true, |tokens| tokens.len() >= MAX_TOKENS)
    }
}
