//! The quantizations that llama.cpp makes, from the most precise to the least.

use super::block::Block;

/// A way to quantize a whole model: what the file is called after. Most mix several types of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    F32,
    Bf16,
    F16,
    Q8_0,
    Q6K,
    Q5KM,
    Q5KS,
    Q5_1,
    Q5_0,
    Q4KM,
    Q4KS,
    Iq4Nl,
    Iq4Xs,
    Q4_1,
    Q4_0,
    Mxfp4,
    Q3KL,
    Q3KM,
    Iq3M,
    Iq3S,
    Iq3Xs,
    Iq3Xxs,
    Q3KS,
    Iq2M,
    Q2K,
    Q2KS,
    Iq2S,
    Iq2Xs,
    Iq2Xxs,
    Iq1M,
    Iq1S,
    Tq2_0,
    Tq1_0,
}

/// Which quantizations are looked at where nobody names any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// For any model.
    General,
    /// For mixtures of experts: of other models nothing would be quantized below eight bits.
    Experts,
    /// For models that were trained with weights of -1, 0 and 1: any other is ruined.
    Ternary,
}

impl Quantization {
    /// THE ORDER, the most precise first: by how far each strays from 16 bits (the mean Kullback-Leibler divergence
    /// over Llama 3 8B, a table of llama.cpp's perplexity tool), and by bits where that table is silent. More bits are
    /// not always more precise: `q5_1` is larger than `q5_k_m` and strays further.
    pub const ALL: [Quantization; 33] = [
        Quantization::F32,
        Quantization::Bf16,
        Quantization::F16,
        Quantization::Q8_0,
        Quantization::Q6K,
        Quantization::Q5KM,
        Quantization::Q5KS,
        Quantization::Q5_1,
        Quantization::Q5_0,
        Quantization::Q4KM,
        Quantization::Q4KS,
        Quantization::Iq4Nl,
        Quantization::Iq4Xs,
        Quantization::Q4_1,
        Quantization::Q4_0,
        Quantization::Mxfp4,
        Quantization::Q3KL,
        Quantization::Q3KM,
        Quantization::Iq3M,
        Quantization::Iq3S,
        Quantization::Iq3Xs,
        Quantization::Iq3Xxs,
        Quantization::Q3KS,
        Quantization::Iq2M,
        Quantization::Q2K,
        Quantization::Q2KS,
        Quantization::Iq2S,
        Quantization::Iq2Xs,
        Quantization::Iq2Xxs,
        Quantization::Iq1M,
        Quantization::Iq1S,
        Quantization::Tq2_0,
        Quantization::Tq1_0,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Quantization::F32 => "f32",
            Quantization::Bf16 => "bf16",
            Quantization::F16 => "f16",
            Quantization::Q8_0 => "q8_0",
            Quantization::Q6K => "q6_k",
            Quantization::Q5KM => "q5_k_m",
            Quantization::Q5KS => "q5_k_s",
            Quantization::Q5_1 => "q5_1",
            Quantization::Q5_0 => "q5_0",
            Quantization::Q4KM => "q4_k_m",
            Quantization::Q4KS => "q4_k_s",
            Quantization::Iq4Nl => "iq4_nl",
            Quantization::Iq4Xs => "iq4_xs",
            Quantization::Q4_1 => "q4_1",
            Quantization::Q4_0 => "q4_0",
            Quantization::Mxfp4 => "mxfp4",
            Quantization::Q3KL => "q3_k_l",
            Quantization::Q3KM => "q3_k_m",
            Quantization::Iq3M => "iq3_m",
            Quantization::Iq3S => "iq3_s",
            Quantization::Iq3Xs => "iq3_xs",
            Quantization::Iq3Xxs => "iq3_xxs",
            Quantization::Q3KS => "q3_k_s",
            Quantization::Q2K => "q2_k",
            Quantization::Iq2M => "iq2_m",
            Quantization::Iq2S => "iq2_s",
            Quantization::Iq2Xs => "iq2_xs",
            Quantization::Q2KS => "q2_k_s",
            Quantization::Iq2Xxs => "iq2_xxs",
            Quantization::Iq1M => "iq1_m",
            Quantization::Iq1S => "iq1_s",
            Quantization::Tq2_0 => "tq2_0",
            Quantization::Tq1_0 => "tq1_0",
        }
    }

    /// By its name, in either case; `mxfp4_moe` is what llama.cpp calls `mxfp4`.
    pub fn of(name: &str) -> Option<Quantization> {
        let name = name.trim().to_lowercase();
        let name = if name == "mxfp4_moe" { "mxfp4" } else { &name };
        Quantization::ALL.into_iter().find(|one| one.name() == name)
    }

    pub const fn fit(self) -> Fit {
        match self {
            Quantization::Mxfp4 => Fit::Experts,
            Quantization::Tq2_0 | Quantization::Tq1_0 => Fit::Ternary,
            _ => Fit::General,
        }
    }

    /// Whether llama.cpp was told which weights matter (an imatrix). It makes none of the i-quants below three
    /// bits without, and those who publish the others use one, too; the older ones are what they are without.
    pub fn has_importance(self) -> bool {
        self.name().starts_with("iq")
    }

    /// What weights get that no rule of the mix names.
    pub const fn block(self) -> Block {
        match self {
            Quantization::F32 => Block::F32,
            Quantization::Bf16 => Block::Bf16,
            Quantization::F16 => Block::F16,
            Quantization::Q8_0 => Block::Q8_0,
            Quantization::Q6K => Block::Q6K,
            Quantization::Q5KM | Quantization::Q5KS => Block::Q5K,
            Quantization::Q5_1 => Block::Q5_1,
            Quantization::Q5_0 => Block::Q5_0,
            Quantization::Q4KM | Quantization::Q4KS => Block::Q4K,
            Quantization::Iq4Nl => Block::Iq4Nl,
            Quantization::Iq4Xs => Block::Iq4Xs,
            Quantization::Q4_1 => Block::Q4_1,
            Quantization::Q4_0 => Block::Q4_0,
            Quantization::Mxfp4 => Block::Mxfp4,
            Quantization::Q3KL | Quantization::Q3KM | Quantization::Q3KS => Block::Q3K,
            Quantization::Iq3M | Quantization::Iq3S | Quantization::Iq3Xs => Block::Iq3S,
            Quantization::Iq3Xxs => Block::Iq3Xxs,
            Quantization::Q2K | Quantization::Q2KS => Block::Q2K,
            Quantization::Iq2M => Block::Iq2S,
            Quantization::Iq2S | Quantization::Iq2Xs => Block::Iq2Xs,
            Quantization::Iq2Xxs => Block::Iq2Xxs,
            Quantization::Iq1M => Block::Iq1M,
            Quantization::Iq1S => Block::Iq1S,
            Quantization::Tq2_0 => Block::Tq2_0,
            Quantization::Tq1_0 => Block::Tq1_0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name() {
        for one in Quantization::ALL {
            assert_eq!(Quantization::of(&one.name().to_uppercase()), Some(one));
        }
        assert_eq!(Quantization::of("MXFP4_MOE"), Some(Quantization::Mxfp4));
        assert_eq!(Quantization::of("q4_k"), None, "which of both is meant is not known");
    }
}
