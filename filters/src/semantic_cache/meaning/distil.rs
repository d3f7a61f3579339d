//! Makes the gate's table out of the embedding model: what each token of its vocabulary means by itself, in 256
//! numbers of one byte. The mean over a text's tokens is then nearly what the model says of the text.
//!
//! `outrigger distil models/minilm` writes `models/minilm/static`, in the layout of Model2Vec, whose recipe it is:
//! principal components, and rare tokens weigh more.

mod principal;

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, TensorView};

use super::Error;
use super::embedder::{Embed, Files};
use super::runtime;

const DIMENSIONS: usize = 256;
const BATCH: usize = 64;
/// How little common tokens weigh (SIF, Arora et al. 2017).
const RARITY: f64 = 1e-4;

/// Writes the table for the model in this folder, run by the library that `runtime` names or else by the usual one.
/// Takes every core, for a minute.
pub fn distil(folder: &Path, runtime: Option<&Path>) -> Result<(), Error> {
    let failed = |reason: String| Error::Distil { folder: folder.to_owned(), reason };
    let tokens = vocabulary(folder).map_err(failed)?;
    let environment = runtime::load(runtime, folder)?;
    let files = Files::read(folder)?;
    let open = || files.open(folder, &environment).map_err(|error| error.to_string());
    let vectors = embed(&open, &tokens).map_err(failed)?;
    let vectors = principal::components(&vectors, DIMENSIONS);
    let (numbers, weights) = quantise(&vectors, &tokens);
    let table = table(&numbers, &weights).map_err(|error| failed(error.to_string()))?;
    write(folder, &table).map_err(|error| failed(error.to_string()))
}

fn write(folder: &Path, table: &[u8]) -> std::io::Result<()> {
    let to = folder.join("static");
    std::fs::create_dir_all(&to)?;
    std::fs::copy(folder.join("tokenizer.json"), to.join("tokenizer.json"))?;
    std::fs::write(to.join("config.json"), r#"{"model_type": "model2vec", "normalize": true, "hidden_dim": 256}"#)?;
    // Last, and in one move: it is what says that all is there.
    std::fs::write(to.join("part"), table)?;
    std::fs::rename(to.join("part"), to.join("model.safetensors"))
}

/// The tokens in the order of their numbers, which is about that of how common they are.
fn vocabulary(folder: &Path) -> Result<Vec<String>, String> {
    let read = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json"));
    let mut tokens: Vec<(String, u32)> = read.map_err(|error| error.to_string())?.get_vocab(true).into_iter().collect();
    tokens.sort_by_key(|(_, number)| *number);
    if tokens.iter().enumerate().any(|(place, (_, number))| place as u32 != *number) {
        return Err("there is a gap in the vocabulary".to_owned());
    }
    Ok(tokens.into_iter().map(|(token, _)| token).collect())
}

/// A token of the tokenizer's own means nothing.
fn means_nothing(token: &str) -> bool {
    token.starts_with('[') && token.ends_with(']') && token.len() > 2
}

/// Each core takes a part.
fn embed<E: Embed>(open: &(impl Fn() -> Result<E, String> + Sync), tokens: &[String]) -> Result<Vec<Vec<f32>>, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let part = |tokens: &[String]| -> Result<Vec<Vec<f32>>, String> {
        let mut session = open()?;
        let mut vectors = Vec::new();
        for batch in tokens.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|token| token.strip_prefix("##").unwrap_or(token)).collect();
            vectors.extend(session.embed(&texts)?);
        }
        Ok(vectors)
    };
    let part = &part;
    let parts = std::thread::scope(|scope| -> Result<Vec<_>, String> {
        let threads: Vec<_> =
            tokens.chunks(tokens.len().div_ceil(cores)).map(|tokens| scope.spawn(move || part(tokens))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?).collect()
    })?;
    let mut vectors: Vec<Vec<f32>> = parts.into_iter().flatten().collect();
    for (vector, _) in vectors.iter_mut().zip(tokens).filter(|(_, token)| means_nothing(token)) {
        vector.fill(0.0);
    }
    Ok(vectors)
}

/// A byte a number, and what a row of them weighs: its scale, times how rare its token is.
fn quantise(vectors: &[Vec<f32>], tokens: &[String]) -> (Vec<i8>, Vec<f32>) {
    let total: f64 = (2..vectors.len()).map(|rank| 1.0 / rank as f64).sum();
    let (mut numbers, mut weights) = (Vec::new(), Vec::new());
    // The vocabulary begins with single signs, which are in no order. Words follow, the most common first.
    let mut rank = 2.0;
    for (vector, token) in vectors.iter().zip(tokens) {
        let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs())).max(f32::MIN_POSITIVE);
        numbers.extend(vector.iter().map(|number| (number / largest * 127.0).round() as i8));
        let share = 1.0 / rank / total;
        weights.push((RARITY / (RARITY + share)) as f32 * largest / 127.0);
        rank += f64::from(u8::from(token.len() > 1 && !means_nothing(token)));
    }
    (numbers, weights)
}

fn table(numbers: &[i8], weights: &[f32]) -> Result<Vec<u8>, SafeTensorError> {
    let numbers: Vec<u8> = numbers.iter().map(|number| number.cast_unsigned()).collect();
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let embeddings = TensorView::new(Dtype::I8, vec![weights.len(), DIMENSIONS], &numbers)?;
    let weights = TensorView::new(Dtype::F32, vec![weights.len()], &bytes)?;
    safetensors::serialize([("embeddings", embeddings), ("weights", weights)], None)
}
