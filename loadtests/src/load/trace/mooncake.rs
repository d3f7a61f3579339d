//! Mooncake's traces: a JSON object a line, with the hashes of the prompt's blocks of 512 tokens.

use std::io::BufRead;

use anyhow::Context;
use serde::Deserialize;

use super::recording::{Input, Lines};
use super::{Recorded, nanoseconds};

/// Fields beside these are the trace's own business.
#[derive(Deserialize)]
struct Row {
    /// Milliseconds.
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    #[serde(default)]
    hash_ids: Box<[u64]>,
}

pub fn read(input: Input) -> Lines {
    let numbered = input.lines().zip(1_u64..);
    Box::new(numbered.filter_map(|(text, number)| match text {
        Ok(text) if text.trim().is_empty() => None,
        Ok(text) => Some(recorded(&text).with_context(|| format!("line {number}"))),
        Err(error) => Some(Err(error).with_context(|| format!("line {number}"))),
    }))
}

fn recorded(text: &str) -> anyhow::Result<Recorded> {
    let row: Row = serde_json::from_str(text)?;
    Ok(Recorded {
        at: nanoseconds(row.timestamp / 1000.0)?,
        input_tokens: Some(row.input_length),
        output_tokens: Some(row.output_length),
        blocks: row.hash_ids,
    })
}
