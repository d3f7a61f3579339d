//! BurstGPT: requests to a university's ChatGPT and GPT-4 service.
//!
//! `Timestamp` is in seconds since a day of the trace's own. Columns are found by name: newer files have `Session ID`
//! and `Elapsed time` beside the older ones' `Model`, `Total tokens` and `Log Type`, and none of these is needed here.
//! A request that failed has an answer of 0 tokens; it came all the same, and is replayed.

use anyhow::Context;
use serde::Deserialize;

use super::recording::{Input, Lines};
use super::{Recorded, nanoseconds};

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "Timestamp")]
    seconds: f64,
    #[serde(rename = "Request tokens")]
    input_tokens: u32,
    #[serde(rename = "Response tokens")]
    output_tokens: u32,
}

pub fn read(input: Input) -> Lines {
    let rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input).into_deserialize::<Row>();
    // The header is line 1, and no field spans lines.
    Box::new(rows.zip(2_u64..).map(|(row, line)| {
        let row = row?;
        let at = nanoseconds(row.seconds).with_context(|| format!("line {line}"))?;
        let (input_tokens, output_tokens) = (Some(row.input_tokens), Some(row.output_tokens));
        Ok(Recorded { at, input_tokens, output_tokens, blocks: Box::default() })
    }))
}
