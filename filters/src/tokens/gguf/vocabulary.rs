//! A tokenizer of the `tokenizers` library from what a GGUF file says of it.
//!
//! A file names how its texts are cut before they are encoded, and llama.cpp knows the rules by that name: they
//! stand here for the names that most models go by. A name that is not here is an error at start, for to
//! cut otherwise is to count otherwise.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::Metadata;

pub struct Vocabulary {
    pub tokenizer: Tokenizer,
    /// The token that begins a text, if the model wants one before each prompt.
    pub begins: Option<String>,
    pub begin: Option<String>,
    pub end: Option<String>,
}

/// How texts are cut before they are encoded.
struct Cut {
    names: &'static [&'static str],
    /// One after the other, each within the pieces of the one before.
    patterns: &'static [&'static str],
    /// A piece that is a token of the vocabulary is that token, whatever the merges say.
    pieces_first: bool,
    /// Whether a prompt begins with a token of its own where the file does not say.
    begins: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const CUTS: [Cut; 7] = [
    Cut {
        names: &["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling"],
        patterns: &[GPT2],
        pieces_first: false,
        begins: false,
    },
    Cut {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        patterns: &[r"\p{N}", GPT2],
        pieces_first: false,
        begins: false,
    },
    Cut {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"],
        patterns: &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        pieces_first: true,
        begins: true,
    },
    Cut {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"],
        patterns: &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        pieces_first: false,
        begins: false,
    },
    Cut {
        names: &["tekken"],
        patterns: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        pieces_first: true,
        begins: true,
    },
    Cut {
        names: &["gpt-4o", "llama4"],
        patterns: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        pieces_first: false,
        begins: false,
    },
    Cut {
        names: &["default"],
        patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
        pieces_first: false,
        begins: false,
    },
];

/// The types of tokens that are recognised in a text as they stand.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The space of SentencePiece.
const SPACE: &str = "\u{2581}";

pub fn vocabulary(metadata: &Metadata) -> Result<Vocabulary, String> {
    let tokens = metadata.texts("tokenizer.ggml.tokens").ok_or("it has no `tokenizer.ggml.tokens`")?;
    let model = metadata.text("tokenizer.ggml.model").ok_or("it has no `tokenizer.ggml.model`")?;
    let (mut tokenizer, begins) = match model {
        "gpt2" => byte_level(metadata, tokens)?,
        "llama" => sentence_pieces(metadata, tokens)?,
        other => return Err(format!("its tokenizer.ggml.model is `{other}`; supported are `gpt2` and `llama`")),
    };
    add_specials(metadata, tokens, &mut tokenizer)?;
    let named = |key: &str| {
        let id = usize::try_from(metadata.number(key)?).ok()?;
        tokens.get(id).cloned()
    };
    let (begin, end) = (named("tokenizer.ggml.bos_token_id"), named("tokenizer.ggml.eos_token_id"));
    let begins = metadata.flag("tokenizer.ggml.add_bos_token").unwrap_or(begins);
    Ok(Vocabulary { tokenizer, begins: begin.clone().filter(|_| begins), begin, end })
}

fn vocab(tokens: &[String]) -> Vocab {
    tokens.iter().zip(0..).map(|(token, id)| (token.clone(), id)).collect()
}

fn byte_level(metadata: &Metadata, tokens: &[String]) -> Result<(Tokenizer, bool), String> {
    let name = metadata.text("tokenizer.ggml.pre").unwrap_or("default");
    let cut = CUTS.iter().find(|cut| cut.names.contains(&name)).ok_or_else(|| {
        let known: Vec<_> = CUTS.iter().flat_map(|cut| cut.names).copied().collect();
        format!("its tokenizer.ggml.pre is `{name}`; supported are {}", known.join(", "))
    })?;
    let merges = metadata.texts("tokenizer.ggml.merges").ok_or("it has no `tokenizer.ggml.merges`")?;
    let merges: Option<Merges> = merges.iter().map(|merge| split_merge(merge)).collect();
    let merges = merges.ok_or("one of its `tokenizer.ggml.merges` is not two tokens and a space")?;
    let model = BPE::builder().vocab_and_merges(vocab(tokens), merges).ignore_merges(cut.pieces_first).build();
    let mut tokenizer = Tokenizer::new(model.map_err(|error| error.to_string())?);
    let mut steps = Vec::new();
    for pattern in cut.patterns {
        let pattern = SplitPattern::Regex((*pattern).to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(|error| error.to_string())?;
        steps.push(PreTokenizerWrapper::Split(split));
    }
    steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    Ok((tokenizer, cut.begins))
}

fn split_merge(merge: &str) -> Option<(String, String)> {
    let (left, right) = merge.split_once(' ')?;
    (!left.is_empty() && !right.is_empty()).then(|| (left.to_owned(), right.to_owned()))
}

/// SentencePiece's BPE. Its files have no merges but scores: two pieces merge where what they make is a
/// piece, the highest score first.
fn sentence_pieces(metadata: &Metadata, tokens: &[String]) -> Result<(Tokenizer, bool), String> {
    let scores = metadata.scores("tokenizer.ggml.scores").ok_or("it has no `tokenizer.ggml.scores`")?;
    let known: HashMap<&str, usize> = tokens.iter().zip(0..).map(|(token, id)| (token.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(first), Some(second)) = (known.get(left), known.get(right)) {
                merges.push((*score, *first, *second));
            }
        }
    }
    merges.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let merges: Merges =
        merges.into_iter().map(|(_, left, right)| (tokens[left].clone(), tokens[right].clone())).collect();
    let unknown = metadata.number("tokenizer.ggml.unknown_token_id").and_then(|id| usize::try_from(id).ok());
    let unknown = unknown.and_then(|id| tokens.get(id)).map_or("<unk>", String::as_str);
    let model = BPE::builder().vocab_and_merges(vocab(tokens), merges).byte_fallback(true).fuse_unk(true);
    let model = model.unk_token(unknown.to_owned()).build().map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    let mut steps = Vec::new();
    if metadata.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true) {
        steps.push(NormalizerWrapper::Prepend(Prepend::new(SPACE.to_owned())));
    }
    let spaces = Replace::new(" ", SPACE).map_err(|error| error.to_string())?;
    steps.push(NormalizerWrapper::Replace(spaces));
    tokenizer.with_normalizer(Some(Normalizers::new(steps))).map_err(|error| error.to_string())?;
    Ok((tokenizer, true))
}

fn add_specials(metadata: &Metadata, tokens: &[String], tokenizer: &mut Tokenizer) -> Result<(), String> {
    let kinds = metadata.numbers("tokenizer.ggml.token_type").unwrap_or_default();
    let special = |kind: &i64| matches!(*kind, UNKNOWN | CONTROL | USER_DEFINED);
    let named = tokens.iter().zip(kinds).filter(|(token, kind)| special(kind) && !token.is_empty());
    let added = named.map(|(token, _)| AddedToken::from(token.clone(), true));
    tokenizer.add_special_tokens(added).map(|_| ()).map_err(|error| error.to_string())
}

/// Every name that texts can be cut by.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    CUTS.iter().flat_map(|cut| cut.names).copied()
}
