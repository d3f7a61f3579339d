//! The advice for people, as a table, and for programs, as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::choice::{Advice, Room, Row};
use super::free::Free;
use super::model::{Model, Need, Setup};
use super::size;

/// How many lines are shown on either side of the one that was chosen.
const NEAR: usize = 3;

pub struct Shown<'a> {
    pub model: &'a Model,
    /// How the model is known.
    pub words: &'a str,
    pub setup: Setup,
    pub cache: &'a str,
    pub room: Room,
    pub free: Free,
    pub advice: &'a Advice,
}

impl Shown<'_> {
    pub fn text(&self, all: bool) -> Result<String, std::fmt::Error> {
        let mut text = self.head()?;
        let rows = &self.advice.rows;
        let shown = match self.advice.chosen {
            _ if all => 0..rows.len(),
            Some(at) => at.saturating_sub(NEAR)..rows.len().min(at + NEAR + 1),
            None => rows.len().saturating_sub(2 * NEAR + 1)..rows.len(),
        };
        writeln!(
            text,
            "\n  {:<9}{:>6}{:>12}{:>12}{:>10}{:>10}{:>12}{:>12}",
            "", "bits", "weights", "KV cache", "compute", "process", "sum", "left"
        )?;
        for at in shown {
            line(&rows[at], self.advice.chosen == Some(at), &mut text)?;
        }
        if let Some(file) = &self.advice.file {
            line(file, false, &mut text)?;
        }
        if let Some(row) = self.advice.chosen.map(|at| &rows[at]) {
            text.push('\n');
            self.sum(row, &mut text)?;
        }
        Ok(text)
    }

    fn head(&self) -> Result<String, std::fmt::Error> {
        let Shown { model, words, setup, cache, room, free, .. } = self;
        let mut text = format!("{} parameters, {words}\n", size::parameters(model.parameters));
        let slots = match setup.slots {
            1 => String::new(),
            slots => format!(" in each of {slots} slots"),
        };
        writeln!(text, "Context of {} tokens{slots}, KV cache {cache}", setup.context)?;
        writeln!(
            text,
            "{} are free ({}), of which {} are kept free",
            size::bytes(room.free),
            free.of,
            size::bytes(room.reserve)
        )?;
        Ok(text)
    }

    fn sum(&self, row: &Row, text: &mut String) -> std::fmt::Result {
        let Need { weights, key_value_cache, compute, process } = row.need;
        let [weights, cache, compute, process] = [weights, key_value_cache, compute, process].map(size::bytes);
        let (sum, left) = (size::bytes(row.need.sum()), signed(row.left));
        writeln!(
            text,
            "{}: {weights} weights + {cache} KV cache + {compute} compute + {process} process = {sum}",
            row.name
        )?;
        let [free, reserve] = [self.room.free, self.room.reserve].map(size::bytes);
        writeln!(text, "{free} free - {reserve} kept free - {sum} = {left} left")?;
        if row.name == "f32" {
            writeln!(text, "Nearly all models are published in 16 bits: then f32 adds nothing to bf16.")?;
        }
        Ok(())
    }

    pub fn json(&self) -> serde_json::Result<String> {
        let Shown { model, words, setup, cache, room, free, advice } = self;
        let document = json!({
            "quantization": advice.chosen.map(|at| advice.rows[at].name),
            "model": {
                "parameters": model.parameters,
                "layers": model.traits.layers,
                "hidden": model.hidden,
                "vocabulary": model.vocabulary,
                "experts": model.traits.experts,
                "tied": model.traits.tied,
                "known": words,
            },
            "context": setup.context,
            "parallel": setup.slots,
            "kv_type": cache,
            "free_bytes": room.free,
            "free_of": free.of,
            "reserve_bytes": room.reserve,
            "candidates": advice.rows.iter().map(object).collect::<Vec<_>>(),
            "file": advice.file.as_ref().map(object),
        });
        serde_json::to_string_pretty(&document).map(|text| text + "\n")
    }
}

fn line(row: &Row, is_chosen: bool, text: &mut String) -> std::fmt::Result {
    let mark = if is_chosen { '>' } else { ' ' };
    let Need { weights, key_value_cache, compute, process } = row.need;
    let [weights, cache, compute, process] = [weights, key_value_cache, compute, process].map(size::bytes);
    let (sum, left) = (size::bytes(row.need.sum()), signed(row.left));
    let (name, bits) = (row.name, row.bits);
    writeln!(text, "{mark} {name:<9}{bits:>6.2}{weights:>12}{cache:>12}{compute:>10}{process:>10}{sum:>12}{left:>12}")
}

fn signed(bytes: i128) -> String {
    let size = size::bytes(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
    if bytes < 0 { format!("-{size}") } else { size }
}

fn object(row: &Row) -> Value {
    json!({
        "quantization": row.name,
        "bits_per_weight": row.bits,
        "weights_bytes": row.need.weights,
        "kv_cache_bytes": row.need.key_value_cache,
        "compute_bytes": row.need.compute,
        "process_bytes": row.need.process,
        "sum_bytes": row.need.sum(),
        "left_bytes": i64::try_from(row.left).unwrap_or(if row.left < 0 { i64::MIN } else { i64::MAX }),
        "fits": row.fits(),
    })
}
