//! A model by its GGUF file: every tensor and every head as they are, nothing guessed.

use std::path::Path;

use anyhow::{Context as _, bail};
use outrigger_filters::tokens::gguf::{Metadata, Tensor as Described};

use super::mix::Traits;
use super::model::{Model, Source};
use super::tensor::Tensor;

/// # Errors
/// In words: which file, and what is wrong with it or missing in it.
pub fn read(file: &Path) -> anyhow::Result<Model> {
    let named = || file.display().to_string();
    let bytes = std::fs::metadata(file).with_context(named)?.len();
    let (metadata, described) = Metadata::with_tensors(file).with_context(named)?;
    model(&metadata, &described, bytes).with_context(named)
}

fn model(metadata: &Metadata, described: &[Described], bytes: u64) -> anyhow::Result<Model> {
    let architecture = metadata.text("general.architecture").context("it does not say its general.architecture")?;
    if let Some(parts) = metadata.number("split.count").filter(|parts| *parts > 1) {
        bail!("it is one of {parts} parts; join them first (llama-gguf-split --merge)");
    }
    let keys = Keys { metadata, architecture };
    let tensors: Vec<_> = described.iter().map(|one| Tensor::named(&one.name, &one.sizes)).collect();
    let layers = keys.number("block_count")?;
    let heads = keys.each("attention.head_count", layers)?;
    let shared = keys.each("attention.head_count_kv", layers).unwrap_or_else(|_| heads.clone());
    let hidden = keys.number("embedding_length")?;
    let most_heads = heads.iter().copied().max().unwrap_or(1).max(1);
    let head = |key| keys.number(key).unwrap_or(hidden / most_heads);
    let (key, value) = (head("attention.key_length"), head("attention.value_length"));
    let grouped = heads.iter().zip(&shared).find_map(|(heads, shared)| heads.checked_div(*shared)).unwrap_or(1);
    let experts = keys.number("expert_count").unwrap_or(0);
    let vocabulary = described.iter().find(|one| one.name == "token_embd.weight");
    let vocabulary = vocabulary.and_then(|one| one.sizes.get(1).copied()).unwrap_or(0);
    Ok(Model {
        parameters: tensors.iter().map(Tensor::weights).fold(0, u64::saturating_add).max(1),
        traits: Traits { layers, grouped, experts, tied: !described.iter().any(|one| one.name == "output.weight") },
        caches: shared.iter().map(|heads| (heads * key, heads * value)).filter(|cache| *cache != (0, 0)).collect(),
        hidden,
        queries: most_heads * key,
        working_hidden: keys.number("expert_used_count").unwrap_or(0) * hidden,
        working_feed_forward: keys.working_feed_forward(layers),
        vocabulary,
        tensors,
        source: Source::File { bytes },
    })
}

struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

/// No more than any model has, so that nothing that is reckoned with it runs over.
const MOST: u64 = 1 << 24;

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn number(&self, name: &str) -> anyhow::Result<u64> {
        let key = self.key(name);
        let number = self.metadata.number(&key).with_context(|| format!("it does not say its {key}"))?;
        checked(number, &key)
    }

    /// A number of each layer: some models say one for all, some a list.
    fn each(&self, name: &str, layers: u64) -> anyhow::Result<Vec<u64>> {
        let key = self.key(name);
        match self.metadata.numbers(&key) {
            Some(numbers) => numbers.iter().map(|number| checked(*number, &key)).collect(),
            None => Ok(vec![self.number(name)?; usize::try_from(layers.min(1 << 16))?]),
        }
    }

    fn working_feed_forward(&self, layers: u64) -> u64 {
        let widest = |name| self.each(name, layers).ok().and_then(|widths| widths.into_iter().max());
        let dense = widest("feed_forward_length").unwrap_or(0);
        let used = self.number("expert_used_count").unwrap_or(0);
        match widest("expert_feed_forward_length") {
            Some(expert) => dense.max(expert * used),
            // Mixtral's experts are as wide as its feed forward is said to be.
            None => dense * used.max(1),
        }
    }
}

fn checked(number: i64, key: &str) -> anyhow::Result<u64> {
    u64::try_from(number).ok().filter(|number| *number <= MOST).with_context(|| format!("{key} is {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::quantization::Quantization;

    /// A GGUF file without its weights.
    struct Crafted {
        entries: Vec<Vec<u8>>,
        tensors: Vec<Vec<u8>>,
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    impl Crafted {
        fn small() -> Self {
            let mut file = Crafted { entries: Vec::new(), tensors: Vec::new() };
            file.entries.push([text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat());
            for (key, number) in [("block_count", 2), ("embedding_length", 512), ("feed_forward_length", 1_024)] {
                file.number(&format!("llama.{key}"), number);
            }
            file.number("llama.attention.head_count", 8);
            file.number("llama.attention.head_count_kv", 2);
            file.tensor("token_embd.weight", &[512, 1_000]);
            for layer in 0..2 {
                file.tensor(&format!("blk.{layer}.attn_v.weight"), &[512, 128]);
                file.tensor(&format!("blk.{layer}.attn_norm.weight"), &[512]);
            }
            file
        }

        fn number(&mut self, key: &str, number: u32) {
            self.entries.push([text(key), 4_u32.to_le_bytes().to_vec(), number.to_le_bytes().to_vec()].concat());
        }

        fn tensor(&mut self, name: &str, sizes: &[u64]) {
            let mut bytes = [text(name), (sizes.len() as u32).to_le_bytes().to_vec()].concat();
            sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            self.tensors.push([bytes, 0_u32.to_le_bytes().to_vec(), 0_u64.to_le_bytes().to_vec()].concat());
        }

        fn read(&self) -> anyhow::Result<Model> {
            let counts = [self.tensors.len() as u64, self.entries.len() as u64].map(u64::to_le_bytes).concat();
            let head = [b"GGUF".to_vec(), 3_u32.to_le_bytes().to_vec(), counts].concat();
            let bytes = [head, self.entries.concat(), self.tensors.concat()].concat();
            let unique = format!("outrigger-advise-{}-{:?}.gguf", std::process::id(), std::thread::current().id());
            let path = std::env::temp_dir().join(unique);
            std::fs::write(&path, bytes).unwrap();
            let model = read(&path);
            std::fs::remove_file(&path).unwrap();
            model
        }
    }

    fn wrong(file: &Crafted) -> String {
        file.read().err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_file_says_all_that_is_asked() {
        let model = Crafted::small().read().unwrap();
        assert_eq!(model.parameters, 512 * 1_000 + 2 * (512 * 128 + 512));
        assert_eq!(model.traits, Traits { layers: 2, grouped: 4, experts: 0, tied: true });
        assert_eq!(model.caches, [(128, 128), (128, 128)], "two heads of 64 in each layer");
        assert_eq!((model.hidden, model.working_feed_forward, model.vocabulary), (512, 1_024, 1_000));
        // The embedding is the output, and the last layer's values are among the last eighth: six bits. The other's have
        // four, norms 32.
        let weights = (1_000 + 128) * 512 * 210 / 256 + 128 * 512 * 144 / 256 + 2 * 512 * 4 + 1_000 * 36;
        assert_eq!(model.file_bytes(Quantization::Q4KM), weights);
        assert_eq!(model.file_bytes(Quantization::F16), (512_000 + 131_072) * 2 + 4_096 + 36_000);
    }

    #[test]
    fn heads_may_be_said_layer_by_layer() {
        let mut file = Crafted::small();
        file.entries.pop();
        let list = [5_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec(), 0_i32.to_le_bytes().to_vec()];
        let list = [list.concat(), 4_i32.to_le_bytes().to_vec()].concat();
        file.entries.push([text("llama.attention.head_count_kv"), 9_u32.to_le_bytes().to_vec(), list].concat());
        assert_eq!(file.read().unwrap().caches, [(256, 256)], "a layer without heads remembers nothing");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let mut half = Crafted::small();
        half.number("split.count", 3);
        assert!(wrong(&half).contains("one of 3 parts"), "{}", wrong(&half));
        let mut silent = Crafted::small();
        silent.entries.retain(|entry| !entry.starts_with(&text("llama.block_count")));
        assert!(wrong(&silent).contains("llama.block_count"), "{}", wrong(&silent));
        let mut short = Crafted::small();
        short.tensors.push(text("half of a tenso"));
        assert!(wrong(&short).contains("ends within"), "{}", wrong(&short));
        let missing = read(Path::new("/none.gguf")).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(missing.contains("/none.gguf"), "{missing}");
    }
}
