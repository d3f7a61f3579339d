//! Which block each tensor of a model gets in a quantization: llama.cpp's mixes.
//!
//! The rules are those of llama.cpp's quantizer (`llama-quant.cpp`), stated anew: values and the matrix that leads out
//! of a layer get more bits than the rest, some layers more than others, and the output most. They hang on how
//! many queries share a key, on the number of experts, and on whether the output has weights of its own.

use super::block::Block;
use super::quantization::Quantization;
use super::tensor::{Role, Tensor};

/// What the rules ask of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    pub layers: u64,
    /// How many queries share a key and a value.
    pub grouped: u64,
    /// 0 where it is no mixture.
    pub experts: u64,
    /// Whether the embedding of tokens is the output, too.
    pub tied: bool,
}

impl Traits {
    /// Models of eighty layers that share keys: their values are so few that more bits cost nothing.
    const fn has_few_values(self) -> bool {
        self.layers == 80 && self.grouped > 1
    }

    /// The first and the last eighth of the layers, and each third between.
    const fn wants_more(self, layer: u64) -> bool {
        let eighth = self.layers / 8;
        layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2
    }

    const fn is_early(self, layer: u64) -> bool {
        layer < self.layers / 8
    }
}

/// The bytes of a tensor in a quantization.
pub fn bytes(quantization: Quantization, tensor: &Tensor, traits: Traits) -> u64 {
    block(quantization, tensor, traits).bytes(tensor.row, tensor.rows)
}

/// The block of a tensor in a quantization.
pub fn block(quantization: Quantization, tensor: &Tensor, traits: Traits) -> Block {
    match quantization {
        _ if tensor.role == Role::Kept => Block::F32,
        Quantization::F32 | Quantization::Bf16 | Quantization::F16 => quantization.block(),
        _ => wanted(quantization, tensor, traits).fitting(tensor.row),
    }
}

fn wanted(quantization: Quantization, tensor: &Tensor, traits: Traits) -> Block {
    use Quantization as Q;
    let plain = quantization.block();
    match tensor.role {
        Role::Output => output(quantization, tensor.row),
        Role::TokenEmbedding if traits.tied => output(quantization, tensor.row),
        _ if quantization == Q::Mxfp4 => {
            if tensor.of_experts {
                Block::Mxfp4
            } else {
                Block::Q8_0
            }
        }
        Role::TokenEmbedding => embedding(quantization),
        _ if is_below_three_bits(quantization) => small(quantization, tensor, traits),
        Role::Value => value(quantization, tensor.layer, traits),
        Role::Fused => fused(quantization),
        Role::Key if traits.experts == 8 => Block::Q8_0,
        Role::Key | Role::Query => match quantization {
            Q::Iq3Xs => Block::Iq3Xxs,
            Q::Iq3Xxs => Block::Iq2S,
            _ => plain,
        },
        Role::Down => down(quantization, tensor.layer, traits),
        Role::AttentionOutput => attention_output(quantization, traits),
        Role::Gate | Role::Up => {
            let middle = !traits.is_early(tensor.layer) && tensor.layer < 7 * traits.layers / 8;
            if quantization == Q::Iq3Xs && middle { Block::Iq3Xxs } else { plain }
        }
        Role::Other | Role::Kept => plain,
    }
}

const fn is_below_three_bits(quantization: Quantization) -> bool {
    use Quantization as Q;
    matches!(quantization, Q::Iq2M | Q::Iq2S | Q::Iq2Xs | Q::Iq2Xxs | Q::Iq1M | Q::Iq1S)
}

fn output(quantization: Quantization, row: u64) -> Block {
    let plain = quantization.block();
    if quantization == Quantization::Mxfp4 || plain == Block::Q8_0 || !row.is_multiple_of(plain.size().0) {
        return Block::Q8_0;
    }
    let small = is_below_three_bits(quantization) || quantization == Quantization::Iq3Xxs;
    if small { Block::Q5K } else { Block::Q6K }
}

const fn embedding(quantization: Quantization) -> Block {
    use Quantization as Q;
    match quantization {
        Q::Iq2Xxs | Q::Iq2Xs | Q::Iq1S | Q::Iq1M => Block::Q2K,
        Q::Iq2S | Q::Iq2M | Q::Iq3Xxs => Block::Iq3S,
        Q::Tq1_0 | Q::Tq2_0 => Block::Q4K,
        _ => quantization.block(),
    }
}

/// The i-quants of one and two bits.
fn small(quantization: Quantization, tensor: &Tensor, traits: Traits) -> Block {
    use Quantization as Q;
    let plain = quantization.block();
    let larger = if matches!(quantization, Q::Iq2S | Q::Iq2M) { Block::Iq3S } else { Block::Q2K };
    match tensor.role {
        Role::Value if traits.grouped >= 4 || traits.experts >= 4 => Block::Q4K,
        Role::Value => larger,
        Role::Key if traits.experts == 8 => Block::Q4K,
        Role::Down if traits.is_early(tensor.layer) => larger,
        Role::AttentionOutput if traits.experts == 8 => Block::Q5K,
        Role::AttentionOutput => match quantization {
            Q::Iq1S | Q::Iq1M => Block::Iq2Xxs,
            Q::Iq2S | Q::Iq2M => Block::Iq3S,
            _ => plain,
        },
        _ => plain,
    }
}

fn value(quantization: Quantization, layer: u64, traits: Traits) -> Block {
    use Quantization as Q;
    let is_grouped = traits.grouped >= 4;
    let block = match quantization {
        Q::Q2K => {
            if is_grouped {
                Block::Q4K
            } else {
                Block::Q3K
            }
        }
        Q::Q2KS | Q::Iq3Xxs | Q::Iq3Xs | Q::Iq3S if is_grouped => Block::Q4K,
        Q::Iq3M => Block::Q4K,
        Q::Q3KM => {
            if layer < 2 {
                Block::Q5K
            } else {
                Block::Q4K
            }
        }
        Q::Q3KL => Block::Q5K,
        Q::Iq4Nl | Q::Iq4Xs if is_grouped => Block::Q5K,
        Q::Q4KM | Q::Q5KM if traits.wants_more(layer) => Block::Q6K,
        Q::Q4KS if layer < 4 => Block::Q5K,
        _ => quantization.block(),
    };
    if traits.experts == 8 {
        // With eight experts attention is a small part of it all.
        return Block::Q8_0;
    }
    let is_low = matches!(block, Block::Q3K | Block::Q4K);
    if traits.has_few_values() && is_low { Block::Q5K } else { block }
}

/// As llama.cpp did it in the files that are published. Today it takes such a matrix for one of values, so what it makes
/// anew is larger, by 7 % where that is most.
const fn fused(quantization: Quantization) -> Block {
    use Quantization as Q;
    match quantization {
        Q::Q3KM | Q::Q3KL | Q::Iq3M => Block::Q4K,
        Q::Q4KM => Block::Q5K,
        Q::Q5KM => Block::Q6K,
        _ => quantization.block(),
    }
}

fn down(quantization: Quantization, layer: u64, traits: Traits) -> Block {
    use Quantization as Q;
    let has_importance = quantization.has_importance();
    match quantization {
        Q::Q2K => Block::Q3K,
        Q::Q2KS if traits.is_early(layer) => Block::Q4K,
        Q::Q3KM => {
            if layer < traits.layers / 16 {
                Block::Q5K
            } else {
                Block::Q4K
            }
        }
        Q::Q3KL => Block::Q5K,
        Q::Iq3M if traits.is_early(layer) || (traits.experts == 8 && traits.wants_more(layer)) => Block::Q4K,
        Q::Q4KM | Q::Q5KM if traits.wants_more(layer) => Block::Q6K,
        Q::Q4KS if traits.is_early(layer) => Block::Q5K,
        Q::Iq4Nl | Q::Iq4Xs if traits.is_early(layer) && !has_importance => Block::Q5K,
        _ => quantization.block(),
    }
}

fn attention_output(quantization: Quantization, traits: Traits) -> Block {
    use Quantization as Q;
    let plain = quantization.block();
    if traits.experts == 8 {
        return match quantization {
            Q::Q2K | Q::Q3KS | Q::Q3KM | Q::Q4KS | Q::Q4KM => Block::Q5K,
            Q::Iq3Xxs | Q::Iq3Xs | Q::Iq3S | Q::Iq3M | Q::Iq4Xs | Q::Iq4Nl => Block::Q5K,
            _ => plain,
        };
    }
    match quantization {
        Q::Q2K => Block::Q3K,
        Q::Iq3Xxs => Block::Iq3S,
        Q::Q3KM | Q::Iq3M => Block::Q4K,
        Q::Q3KL => Block::Q5K,
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: Traits = Traits { layers: 32, grouped: 4, experts: 0, tied: false };

    fn of(quantization: Quantization, role: Role, layer: u64, traits: Traits) -> Block {
        block(quantization, &Tensor::new(role, layer, 4_096, 4_096), traits)
    }

    #[test]
    fn half_of_the_values_get_more_bits() {
        let blocks: Vec<_> = (0..32).map(|layer| of(Quantization::Q4KM, Role::Value, layer, LLAMA)).collect();
        assert_eq!(blocks.iter().filter(|block| **block == Block::Q6K).count(), 16, "{blocks:?}");
        assert_eq!((blocks[0], blocks[4], blocks[6], blocks[31]), (Block::Q6K, Block::Q4K, Block::Q6K, Block::Q6K));
    }

    #[test]
    fn the_output_gets_six_bits_and_so_does_an_embedding_that_is_one() {
        assert_eq!(of(Quantization::Q4KM, Role::Output, 0, LLAMA), Block::Q6K);
        assert_eq!(of(Quantization::Q4KM, Role::TokenEmbedding, 0, LLAMA), Block::Q4K);
        let tied = Traits { tied: true, ..LLAMA };
        assert_eq!(of(Quantization::Q4KM, Role::TokenEmbedding, 0, tied), Block::Q6K);
        assert_eq!(of(Quantization::Iq2Xs, Role::TokenEmbedding, 0, tied), Block::Q5K);
        assert_eq!(of(Quantization::Q8_0, Role::Output, 0, LLAMA), Block::Q8_0);
    }

    #[test]
    fn who_shares_values_gives_them_more_bits() {
        let alone = Traits { grouped: 1, ..LLAMA };
        assert_eq!(of(Quantization::Q2K, Role::Value, 9, LLAMA), Block::Q4K);
        assert_eq!(of(Quantization::Q2K, Role::Value, 9, alone), Block::Q3K);
        let large = Traits { layers: 80, grouped: 8, ..LLAMA };
        assert_eq!(of(Quantization::Q4KM, Role::Value, 11, large), Block::Q5K, "and where there are 80 layers, more");
        let mixture = Traits { experts: 8, ..LLAMA };
        assert_eq!(of(Quantization::Q4KM, Role::Value, 9, mixture), Block::Q8_0);
        assert_eq!(of(Quantization::Q4KM, Role::AttentionOutput, 9, mixture), Block::Q5K);
    }

    #[test]
    fn only_experts_are_made_of_four_bit_floats() {
        let expert = Tensor { of_experts: true, ..Tensor::new(Role::Up, 0, 4_096, 4_096) };
        let mixture = Traits { experts: 128, ..LLAMA };
        assert_eq!(block(Quantization::Mxfp4, &expert, mixture), Block::Mxfp4);
        assert_eq!(of(Quantization::Mxfp4, Role::Query, 0, mixture), Block::Q8_0);
    }

    #[test]
    fn what_is_kept_is_kept_in_every_quantization() {
        for one in Quantization::ALL {
            assert_eq!(of(one, Role::Kept, 0, LLAMA), Block::F32, "{}", one.name());
        }
        assert_eq!(of(Quantization::F16, Role::Output, 0, LLAMA), Block::F16);
    }
}
