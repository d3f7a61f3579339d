//! Reads the table of prices that LiteLLM keeps, and writes it as ours.
//!
//! Every rate is worked out here as LiteLLM's own functions work it out, for each class of service and each tier,
//! and written as ours, which knows none of their exceptions. What cannot be charged by tokens is left out, and
//! everything that is left out is counted.

mod model;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde_json::{Map, Value};

use super::write::Full;
use model::Listing;

/// A table has four thousand models now.
const MAX_MODELS: usize = 50_000;
/// Those who make models themselves, and whose clients call them by their bare names.
const MAKERS: [&str; 14] = [
    "anthropic",
    "codestral",
    "cohere",
    "dashscope",
    "deepseek",
    "gemini",
    "meta_llama",
    "minimax",
    "mistral",
    "moonshot",
    "openai",
    "voyage",
    "xai",
    "zai",
];

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("this is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("this is no table of prices: an object with the models' names as keys was expected")]
    NoTable,
    #[error("the table has {0} models: {MAX_MODELS} at most")]
    TooMany(usize),
    #[error("writing the table: {0}")]
    Write(#[from] fmt::Error),
}

/// Which models are taken; where a list is empty, all are.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Names, or beginnings and `*`.
    pub models: Vec<String>,
    /// As the table calls them: `openai`, `anthropic`, `gemini`.
    pub providers: Vec<String>,
}

/// Why a model is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    NotWanted,
    Sample,
    NoObject,
    NoPrice,
    NotByTokens,
    NoAmount,
    BadName,
    RangesWithGaps,
    UnderItsBareName,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Why::NotWanted => "not asked for",
            Why::Sample => "explains the table",
            Why::NoObject => "is no object",
            Why::NoPrice => "has no price",
            Why::NotByTokens => "is priced by the image, second, character, page or query only",
            Why::NoAmount => "has a rate that is no amount",
            Why::BadName => "has a name that ours cannot have",
            Why::RangesWithGaps => "has ranges of input that do not meet",
            Why::UnderItsBareName => "costs the same as its bare name, and is found by it",
        })
    }
}

#[derive(Debug)]
pub struct Imported {
    /// Our table, in TOML.
    pub text: String,
    /// Models in it.
    pub taken: usize,
    pub left_out: BTreeMap<Why, Vec<String>>,
    /// Keys with prices that models were taken without, and how many: tools, off-peak hours, regions and the like.
    pub ignored: BTreeMap<String, usize>,
}

/// # Errors
/// Where the text is no table. A single bad model is left out and counted.
pub fn import(json: &str, wanted: &Wanted) -> Result<Imported, Problem> {
    let Value::Object(table) = serde_json::from_str(json)? else { return Err(Problem::NoTable) };
    if table.len() > MAX_MODELS {
        return Err(Problem::TooMany(table.len()));
    }
    let mut imported = Imported { text: String::new(), taken: 0, left_out: BTreeMap::new(), ignored: BTreeMap::new() };
    let mut models: BTreeMap<&str, Full> = BTreeMap::new();
    for (name, value) in &table {
        match listed(name, value, wanted) {
            Ok(listing) => {
                for key in listing.ignored() {
                    *imported.ignored.entry(key).or_default() += 1;
                }
                models.insert(name, listing.full());
            }
            Err(why) => imported.left_out.entry(why).or_default().push(name.clone()),
        }
    }
    let models = under_bare_names(models, &mut imported);
    imported.taken = models.len();
    for (name, full) in models {
        full.write(name, &mut imported.text)?;
    }
    Ok(imported)
}

fn listed<'table>(name: &str, value: &'table Value, wanted: &Wanted) -> Result<Listing<'table>, Why> {
    if name == "sample_spec" {
        return Err(Why::Sample);
    }
    let raw: &Map<String, Value> = value.as_object().ok_or(Why::NoObject)?;
    let provider = raw.get("litellm_provider").and_then(Value::as_str).unwrap_or_default();
    let like = |pattern: &String| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    };
    let asked = wanted.models.is_empty() || wanted.models.iter().any(like);
    if !asked || !(wanted.providers.is_empty() || wanted.providers.iter().any(|name| name == provider)) {
        return Err(Why::NotWanted);
    }
    if name.is_empty() || name.len() > super::MAX_NAME_BYTES || name.contains('*') {
        return Err(Why::BadName);
    }
    Listing::new(raw, provider)
}

/// Clients of a maker write no `mistral/` before a name, and whoever does finds the bare name: so the bare name is
/// listed in its place, and beside it only where somebody else of that name costs something else.
fn under_bare_names<'name>(models: BTreeMap<&'name str, Full>, imported: &mut Imported) -> BTreeMap<&'name str, Full> {
    let bare = |name: &'name str| name.rsplit_once('/').map_or(name, |(_, bare)| bare);
    let (mut listed, prefixed): (BTreeMap<_, _>, BTreeMap<_, _>) =
        models.into_iter().partition(|(name, _)| !name.contains('/'));
    let of_makers = |name: &&str| name.split_once('/').is_some_and(|(maker, _)| MAKERS.contains(&maker));
    let (makers, others): (Vec<_>, Vec<_>) = prefixed.into_iter().partition(|(name, _)| of_makers(name));
    for (name, full) in makers {
        let short = bare(name);
        let direct = name.matches('/').count() == 1;
        match listed.get(short) {
            None if direct => _ = listed.insert(short, full),
            Some(same) if *same == full => {
                imported.left_out.entry(Why::UnderItsBareName).or_default().push(name.to_owned())
            }
            _ => _ = listed.insert(name, full),
        }
    }
    for (name, full) in others {
        match listed.get(bare(name)) {
            Some(same) if *same == full => {
                imported.left_out.entry(Why::UnderItsBareName).or_default().push(name.to_owned())
            }
            _ => _ = listed.insert(name, full),
        }
    }
    listed
}

impl Imported {
    /// What was taken and what was not, for people.
    pub fn summary(&self) -> String {
        let mut text = format!("{} models taken.\n", self.taken);
        for (why, names) in &self.left_out {
            let some = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if names.len() > 3 { ", …" } else { "" };
            _ = writeln!(text, "{:>6} left out: {why} ({some}{more})", names.len());
        }
        for (key, count) in &self.ignored {
            _ = writeln!(text, "{count:>6} taken without {key}");
        }
        text
    }
}

#[cfg(test)]
mod tests;
