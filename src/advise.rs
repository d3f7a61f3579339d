//! `outrigger advise`: the most precise quantization of a model that fits the memory that is free.

mod block;
mod choice;
mod estimate;
mod file;
mod free;
mod known;
mod mix;
mod model;
mod quantization;
mod shape;
mod size;
mod table;
mod tensor;

#[cfg(test)]
mod published;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use block::Block;
use choice::Room;
use free::Free;
use model::{Model, Setup};
use quantization::Quantization;
use size::{Amount, Bytes, Parameters};

#[derive(Debug, Args)]
pub struct Advise {
    /// How many parameters the model has: 7B, 7.6B, 135M, 1_100_000_000; the exact number is better than the one in its name
    #[arg(long, value_name = "NUMBER")]
    params: Option<Parameters>,
    /// A GGUF file of the model, in any quantization: what it says is taken, and nothing is assumed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shape", "params"])]
    gguf: Option<PathBuf>,
    #[command(flatten)]
    shape: Given,
    /// Tokens that each request may have, its answer among them
    #[arg(long, value_name = "TOKENS", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    context: u64,
    /// Requests at a time, each with a context of its own: llama.cpp's -np, whose -c is context times slots
    #[arg(long, value_name = "SLOTS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    parallel: u64,
    /// What the KV cache holds its numbers as: llama.cpp's -ctk and -ctv
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f16")]
    kv_type: Cache,
    /// 24GiB (24 · 1024³ bytes), 24GB (24 · 1000³), or 80% of what the machine has free; by default all of that
    #[arg(long, value_name = "SIZE")]
    free_memory: Option<Amount>,
    /// What is to stay free: a GPU's driver takes some of it. By default what llama.cpp's own -fit leaves
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    reserve: Bytes,
    /// Looks at these quantizations only, as they are published of the model: q8_0,q4_k_m
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = quantization_of)]
    among: Vec<Quantization>,
    /// Shows all that were looked at, not only the nearest
    #[arg(long)]
    all: bool,
    /// For programs: everything in JSON, sizes in bytes
    #[arg(long)]
    json: bool,
}

/// What is known of the model's shape. The rest is taken to be like a published model of its size.
#[derive(Debug, Args)]
#[group(id = "shape", multiple = true)]
struct Given {
    /// Of a mixture of experts: how many parameters work on a token. All of them lie in memory all the same
    #[arg(long, value_name = "NUMBER")]
    active: Option<Parameters>,
    /// num_hidden_layers, n_layer
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    layers: Option<u64>,
    /// How wide a layer is: hidden_size, n_embd
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=262_144))]
    hidden: Option<u64>,
    /// How wide its feed forward is, of one expert where there are several: intermediate_size, n_ff
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    ffn: Option<u64>,
    /// Heads of queries: num_attention_heads, n_head
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=4_096))]
    heads: Option<u64>,
    /// Heads of keys and values, where several queries share one: num_key_value_heads
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=4_096))]
    kv_heads: Option<u64>,
    /// How wide a head is
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    head_dim: Option<u64>,
    /// Tokens of the vocabulary
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    vocab: Option<u64>,
    /// Whether the embedding of tokens is the output, too: tie_word_embeddings
    #[arg(long, value_name = "BOOL")]
    tied: Option<bool>,
    /// Experts of each layer
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=4_096))]
    experts: Option<u64>,
    /// Experts that work on a token
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=4_096))]
    experts_used: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Cache {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q5_1")]
    Q5_1,
    #[value(name = "q5_0")]
    Q5_0,
    #[value(name = "q4_1")]
    Q4_1,
    #[value(name = "q4_0")]
    Q4_0,
    #[value(name = "iq4_nl")]
    Iq4Nl,
}

impl Cache {
    const fn block(self) -> Block {
        match self {
            Cache::F32 => Block::F32,
            Cache::F16 => Block::F16,
            Cache::Bf16 => Block::Bf16,
            Cache::Q8_0 => Block::Q8_0,
            Cache::Q5_1 => Block::Q5_1,
            Cache::Q5_0 => Block::Q5_0,
            Cache::Q4_1 => Block::Q4_1,
            Cache::Q4_0 => Block::Q4_0,
            Cache::Iq4Nl => Block::Iq4Nl,
        }
    }
}

fn quantization_of(name: &str) -> Result<Quantization, String> {
    let all = || Quantization::ALL.map(Quantization::name).join(", ");
    Quantization::of(name).ok_or_else(|| format!("it is none of {}", all()))
}

/// # Errors
/// Where nothing fits, and what would help; or in words for whoever asked wrongly.
pub fn run(advise: &Advise) -> anyhow::Result<()> {
    let (model, words) = advise.model()?;
    let free = advise.free()?;
    let setup = Setup { context: advise.context, slots: advise.parallel, key_value: advise.kv_type.block() };
    let room = Room { free: free.bytes, reserve: advise.reserve.0 };
    let advice = choice::advise(&model, setup, room, &advise.among);
    let cache = advise.kv_type.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let shown = table::Shown { model: &model, words: &words, setup, cache: &cache, room, free, advice: &advice };
    let text = if advise.json { shown.json()? } else { shown.text(advise.all)? };
    match std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written.context("writing")?,
    }
    if advice.chosen.is_none() {
        let help = choice::help(&model, setup, room, &advise.among).join("; ");
        bail!("nothing fits {} with {} kept free: {help}", size::bytes(room.free), size::bytes(room.reserve));
    }
    Ok(())
}

impl Advise {
    /// The model, and in words how it is known.
    fn model(&self) -> anyhow::Result<(Model, String)> {
        if let Some(file) = &self.gguf {
            return Ok((file::read(file)?, format!("as {} says", file.display())));
        }
        let given = &self.shape;
        let said = estimate::Said {
            parameters: self.params.map(|parameters| parameters.0),
            active: given.active.map(|active| active.0),
            layers: given.layers,
            hidden: given.hidden,
            feed_forward: given.ffn,
            heads: given.heads,
            key_value_heads: given.kv_heads,
            head: given.head_dim,
            vocabulary: given.vocab,
            experts: given.experts,
            used: given.experts_used,
            tied: given.tied,
        };
        let estimate = said.estimate()?;
        let words = if estimate.assumed.is_empty() {
            "in the shape that was given".to_owned()
        } else {
            format!("assumed like {}: {}", estimate.like, estimate.assumed.join(", "))
        };
        Ok((estimate.shape.model(estimate.parameters), words))
    }

    fn free(&self) -> anyhow::Result<Free> {
        let of = "--free-memory";
        let asked = || free::free_memory().context("the machine does not say what it has free; say --free-memory");
        match self.free_memory {
            Some(Amount::Bytes(bytes)) => Ok(Free { bytes, of }),
            Some(Amount::Share(share)) => {
                let free = asked()?;
                Ok(Free { bytes: (free.bytes as f64 * share) as u64, ..free })
            }
            None => asked(),
        }
    }
}
