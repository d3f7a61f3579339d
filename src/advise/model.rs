//! What is known or assumed of a model, and what it takes in memory.

use super::block::Block;
use super::mix::{self, Traits};
use super::quantization::Quantization;
use super::tensor::Tensor;

/// What llama.cpp reads of a prompt at a time (its `--ubatch-size`).
const AT_A_TIME: u64 = 512;
/// llama.cpp makes a context a whole number of these.
pub const CELLS: u64 = 256;
/// What a file says of each token of its vocabulary: 36 bytes in that of SmolLM2.
const FILE_BYTES_A_TOKEN: u64 = 36;
/// What llama.cpp keeps of each in memory: measured with vocabularies of 32,000 and 128,000 tokens.
const MEMORY_BYTES_A_TOKEN: u64 = 214;
/// The process itself: 11 MB of its own and 20 MB of code, measured without a GPU.
const PROCESS_BYTES: u64 = 32 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub parameters: u64,
    pub tensors: Vec<Tensor>,
    pub traits: Traits,
    /// For each layer that remembers: the numbers that it keeps of a token as its key, and as its value.
    pub caches: Vec<(u64, u64)>,
    pub hidden: u64,
    /// How wide the queries of a token are.
    pub queries: u64,
    /// How wide the feed forward of a token is, over all experts that work on it.
    pub working_feed_forward: u64,
    /// How wide what these experts answer is: none where there are no experts.
    pub working_hidden: u64,
    pub vocabulary: u64,
    pub source: Source,
}

/// Where a model's tensors are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From a shape, given or estimated.
    Shape,
    /// From a file that was read, of so many bytes.
    File { bytes: u64 },
}

/// How a model is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Tokens that each slot remembers.
    pub context: u64,
    /// Requests at a time.
    pub slots: u64,
    pub key_value: Block,
}

/// What a model takes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub weights: u64,
    pub key_value_cache: u64,
    pub compute: u64,
    pub process: u64,
}

impl Need {
    pub const fn sum(self) -> u64 {
        self.weights.saturating_add(self.key_value_cache).saturating_add(self.compute).saturating_add(self.process)
    }
}

impl Model {
    /// The size of the file, which is what the weights take.
    pub fn file_bytes(&self, quantization: Quantization) -> u64 {
        let weights = |tensor: &Tensor| u128::from(mix::bytes(quantization, tensor, self.traits));
        let bytes: u128 = self.tensors.iter().map(weights).sum();
        let shaped: u128 = self.tensors.iter().map(|tensor| u128::from(tensor.weights())).sum();
        let scaled = bytes.saturating_mul(u128::from(self.parameters)) / shaped.max(1);
        u64::try_from(scaled).unwrap_or(u64::MAX).saturating_add(self.vocabulary.saturating_mul(FILE_BYTES_A_TOKEN))
    }

    pub fn key_value_bytes(&self, setup: Setup) -> u64 {
        let cells = setup.context.next_multiple_of(CELLS).saturating_mul(setup.slots);
        let of = |row: u64| setup.key_value.bytes(row, cells);
        self.caches.iter().fold(0, |sum, (key, value)| sum.saturating_add(of(*key)).saturating_add(of(*value)))
    }

    /// What is worked with while a prompt is read, for each token of it: three times the feed forward and five times the
    /// hidden state, or twice what the experts answer and three times the queries, whichever is more; and which of the tokens
    /// before it it may look at. It is what llama.cpp reserves, found with models of several shapes, to the megabyte but
    /// for many small experts. The answer's logits are of one token for each slot.
    pub fn compute_bytes(&self, setup: Setup) -> u64 {
        let dense = 3 * self.working_feed_forward + 5 * self.hidden;
        let mixed = 2 * self.working_hidden + 3 * self.queries.max(self.hidden);
        let looks = setup.context.next_multiple_of(CELLS).saturating_mul(AT_A_TIME * 2);
        let logits = setup.slots.saturating_mul(self.vocabulary).saturating_mul(2 * 4);
        looks.saturating_add(dense.max(mixed).saturating_mul(4 * AT_A_TIME)).saturating_add(logits)
    }

    pub const fn process_bytes(&self) -> u64 {
        PROCESS_BYTES + self.vocabulary.saturating_mul(MEMORY_BYTES_A_TOKEN)
    }

    pub fn need(&self, quantization: Quantization, setup: Setup) -> Need {
        Need {
            weights: self.file_bytes(quantization),
            key_value_cache: self.key_value_bytes(setup),
            compute: self.compute_bytes(setup),
            process: self.process_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::known;

    fn model(name: &str) -> Model {
        let shape = known::named(name).expect(name);
        shape.model(shape.parameters())
    }

    fn setup(context: u64, slots: u64, key_value: Block) -> Setup {
        Setup { context, slots, key_value }
    }

    #[test]
    fn caches_are_what_llama_cpp_says_they_are() {
        let bytes = |name, context, key_value| model(name).key_value_bytes(setup(context, 1, key_value));
        let mib = |mib: f64| (mib * 1_048_576.0) as u64;
        assert_eq!(bytes("Llama-2-7B", 4_096, Block::F16), mib(2048.0));
        assert_eq!(bytes("Llama-2-13B", 4_096, Block::F16), mib(3200.0));
        assert_eq!(bytes("Llama-3.1-8B", 8_192, Block::F16), mib(1024.0));
        assert_eq!(bytes("Llama-3.1-70B", 8_192, Block::F16), mib(2560.0));
        assert_eq!(bytes("SmolLM2-135M", 8_192, Block::F16), mib(180.0));
        assert_eq!(bytes("SmolLM2-135M", 8_192, Block::Q8_0), mib(95.625), "8.5 bits a number");
        assert_eq!(bytes("SmolLM2-135M", 8_192, Block::Q4_0), mib(50.625), "4.5 bits a number");
        assert_eq!(bytes("SmolLM2-135M", 8_000, Block::F16), mib(180.0), "8,000 tokens are 8,192 cells");
    }

    #[test]
    fn each_slot_has_a_cache_of_its_own() {
        let bytes = |slots| model("SmolLM2-135M").key_value_bytes(setup(2_048, slots, Block::F16));
        assert_eq!(bytes(4), 4 * bytes(1));
    }

    /// What llama.cpp logged as its compute buffer, in MiB, without a GPU; of the large ones with three layers and no
    /// weights in their files, since neither counts.
    #[test]
    fn what_is_worked_with_is_what_llama_cpp_reserves() {
        let logged = [
            ("SmolLM2-135M", 512, 1, 15.14),
            ("SmolLM2-135M", 4_096, 1, 18.64),
            ("SmolLM2-135M", 8_192, 1, 22.64),
            ("SmolLM2-135M", 32_768, 1, 46.64),
            ("SmolLM2-135M", 2_048, 4, 16.64),
            ("Llama-3.1-8B", 8_192, 1, 132.02),
            ("Llama-3.1-70B", 8_192, 1, 256.02),
            ("Mixtral-8x7B", 8_192, 1, 216.02),
            ("Qwen3-30B-A3B", 8_192, 1, 96.02),
        ];
        for (name, context, slots, mib) in logged {
            let model = model(name);
            // The logits lie in a buffer of their own.
            let ours = model.compute_bytes(setup(context, slots, Block::F16)) - slots * model.vocabulary * 8;
            let ours = ours as f64 / 1_048_576.0;
            assert!((ours - mib).abs() < 0.03, "{name}, {context} tokens in {slots} slots: {ours} and not {mib}");
        }
    }
}
