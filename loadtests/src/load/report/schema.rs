//! The JSON Schema of a result file, made of the types themselves, so that it cannot fall behind them.

use anyhow::Context;
use schemars::schema_for;

use crate::load::result::{FORMAT, Run};

/// JSON Schema 2020-12, as `run.schema.json` has it.
pub fn schema() -> anyhow::Result<String> {
    let mut schema = schema_for!(Run);
    schema.insert("title".to_owned(), FORMAT.into());
    let text = serde_json::to_string_pretty(&schema).context("the schema cannot be written")?;
    Ok(text + "\n")
}
