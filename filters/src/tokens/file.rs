//! The tokenizer of a model and its chat template, from the files that lie beside its weights.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{DecoderWrapper, PostProcessor, Tokenizer};

use super::gguf;
use super::template::Template;
use super::template::messages::LastAnswer;

/// The longest templates have some 20 KB; a `tokenizer_config.json` names thousands of tokens.
const MOST_TEMPLATE_BYTES: u64 = 1 << 20;
const MOST_CONFIG_BYTES: u64 = 32 << 20;

pub struct Model {
    tokenizer: Tokenizer,
    pub template: Option<Template>,
    /// The token that a prompt without a template begins with.
    begins: Option<String>,
    /// What the tokenizer puts around each text of a prompt that no template has made.
    around: u64,
    pub last: LastAnswer,
}

impl Model {
    /// Reads a `tokenizer.json` or a GGUF file, and the template: the one that is given, else that of the model.
    pub fn read(file: &Path, template: Option<&Path>) -> Result<Self, String> {
        if is_gguf(file).map_err(|error| error.to_string())? {
            return Model::from_gguf(file, template);
        }
        let mut tokenizer = Tokenizer::from_file(file).map_err(|error| format!("no tokenizer.json: {error}"))?;
        // What a file says of these is for training: here they would make every count the same.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        let around = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false)) as u64;
        let config = beside(file, "tokenizer_config.json");
        let config: Value = match read(&config, MOST_CONFIG_BYTES) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{}: {error}", config.display()))?,
            Err(_) => Value::Null,
        };
        let source = match read(&beside(file, "chat_template.jinja"), MOST_TEMPLATE_BYTES) {
            Ok(source) => Some(source),
            Err(_) => named_template(&config["chat_template"]),
        };
        let tokens = [token(&config["bos_token"]), token(&config["eos_token"])];
        let template = choose(template, source, tokens)?;
        Ok(Model { tokenizer, template, begins: None, around, last: LastAnswer::Given })
    }

    fn from_gguf(file: &Path, template: Option<&Path>) -> Result<Self, String> {
        let metadata = gguf::Metadata::of(file).map_err(|error| error.to_string())?;
        let read = gguf::vocabulary(&metadata)?;
        let source = metadata.text("tokenizer.chat_template").map(str::to_owned);
        let template = choose(template, source, [read.begin.as_deref(), read.end.as_deref()])?;
        let around = u64::from(read.begins.is_some());
        // Engines that read such files are llama.cpp's kin.
        let last = LastAnswer::WrittenOn;
        Ok(Model { tokenizer: read.tokenizer, template, begins: read.begins, around, last })
    }

    pub fn count(&self, text: &str) -> u64 {
        match self.tokenizer.encode_fast(text, false) {
            Ok(encoding) => encoding.len() as u64,
            // A vocabulary without a word for what it does not know.
            Err(_) => text.len().div_ceil(4) as u64,
        }
    }

    /// The tokens around each text that no template has made.
    pub fn around(&self) -> u64 {
        self.around
    }

    /// The tokens that come before a rendered prompt: llama.cpp puts one there, unless the template has.
    pub fn before(&self, rendered: &str) -> u64 {
        u64::from(self.begins.as_ref().is_some_and(|begin| !rendered.starts_with(begin.as_str())))
    }

    /// Whether the tokens of a text are the same wherever it is cut between two of them.
    pub fn is_byte_level(&self) -> bool {
        matches!(self.tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
    }
}

fn is_gguf(file: &Path) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    std::fs::File::open(file)?.take(gguf::MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == gguf::MAGIC)
}

fn beside(file: &Path, name: &str) -> PathBuf {
    file.with_file_name(name)
}

fn read(file: &Path, most_bytes: u64) -> Result<String, String> {
    let mut text = String::new();
    let source = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let length = source.take(most_bytes + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if length as u64 > most_bytes { Err(format!("it is longer than {most_bytes} bytes")) } else { Ok(text) }
}

/// A template that the settings name must be a good one; one that was found is used if it can be.
fn choose(
    given: Option<&Path>,
    found: Option<String>,
    [begin, end]: [Option<&str>; 2],
) -> Result<Option<Template>, String> {
    if let Some(file) = given {
        let wrong = |reason: String| format!("chat_template `{}`: {reason}", file.display());
        let source = read(file, MOST_TEMPLATE_BYTES).map_err(wrong)?;
        return Template::new(&source, begin, end).map(Some).map_err(|error| wrong(error.to_string()));
    }
    Ok(found.and_then(|source| match Template::new(&source, begin, end) {
        Ok(template) => Some(template),
        Err(error) => {
            tracing::warn!(%error, "the chat template of a model cannot be read; its prompts are counted without");
            None
        }
    }))
}

/// A token's text: some files say more of it than that.
fn token(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// The template of a `tokenizer_config.json`: one, or several with names.
fn named_template(value: &Value) -> Option<String> {
    let several = || value.as_array()?.iter().find(|one| one["name"] == "default")?["template"].as_str();
    value.as_str().or_else(several).map(str::to_owned)
}
