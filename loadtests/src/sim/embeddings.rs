//! Embeddings: vectors of unit length, the same for the same input and dimensions, whoever asks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::json_text::JsonText;
use super::problem::Problem;
use super::question::{Encoding, Question};
use super::script::Script;

const DEFAULT_DIMENSIONS: usize = 8;
const MOST_DIMENSIONS: usize = 65_536;

pub struct Vectors {
    encoding: Encoding,
    vectors: Vec<Vec<f32>>,
}

impl Vectors {
    pub fn read(question: &Question<'_>) -> Result<Vectors, Problem> {
        let dimensions = question.dimensions.unwrap_or(DEFAULT_DIMENSIONS);
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(Problem::bad_request(format!("'dimensions' must be between 1 and {MOST_DIMENSIONS}.")));
        }
        let input = question.input.ok_or_else(|| Problem::missing("input"))?;
        let vectors = inputs(input)?.into_iter().map(|item| vector(item, dimensions)).collect();
        Ok(Vectors { encoding: question.encoding_format.unwrap_or_default(), vectors })
    }

    /// Writes the reply; in it `sim.sha256` is over the vectors' bytes, as base64 would carry them.
    pub fn write(&self, script: &Script, out: &mut JsonText) {
        let mut hash = Sha256::new();
        out.raw(r#"{"object":"list","data":["#);
        for (index, vector) in self.vectors.iter().enumerate() {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            hash.update(&bytes);
            out.raw(if index > 0 { "," } else { "" });
            out.raw(r#"{"object":"embedding","index":"#).number(index as u64).raw(r#","embedding":"#);
            match self.encoding {
                Encoding::Float => write_floats(vector, out),
                Encoding::Base64 => {
                    out.raw("\"").raw(&STANDARD.encode(&bytes)).raw("\"");
                }
            }
            out.raw("}");
        }
        out.raw(r#"],"model":"#).raw(&script.model);
        out.raw(r#","usage":{"prompt_tokens":"#).number(script.prompt_tokens);
        out.raw(r#","total_tokens":"#).number(script.prompt_tokens).raw("}");
        script.write_sim(&hex::encode(hash.finalize()), out);
        out.raw("}");
    }
}

fn write_floats(vector: &[f32], out: &mut JsonText) {
    out.raw("[");
    for (index, value) in vector.iter().enumerate() {
        out.raw(if index > 0 { "," } else { "" }).float(*value);
    }
    out.raw("]");
}

/// The inputs as written: a string or a list of tokens is one, a list of those is as many.
fn inputs(input: &RawValue) -> Result<Vec<&str>, Problem> {
    let wrong = || Problem::bad_request("'input' must be a string, a list of tokens, or a non-empty list of those.");
    if input.get().starts_with('"') {
        return Ok(vec![input.get()]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(input.get()).map_err(|_| wrong())?;
    match items.first().map(|item| item.get().as_bytes().first()) {
        Some(Some(b'"' | b'[')) => Ok(items.into_iter().map(RawValue::get).collect()),
        Some(Some(b'0'..=b'9')) => Ok(vec![input.get()]),
        _ => Err(wrong()),
    }
}

/// Components from the hash of the input, counted on: each block of the hash gives sixteen.
fn vector(input: &str, dimensions: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(dimensions + 16);
    let mut block = 0_u64;
    while values.len() < dimensions {
        let hash = Sha256::new().chain_update(input).chain_update(block.to_le_bytes()).finalize();
        values.extend(hash.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) + 0.5));
        block += 1;
    }
    values.truncate(dimensions);
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / length).collect()
}
