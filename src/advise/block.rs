//! How many bytes a row of weights takes in each of ggml's types: facts of its format.

/// How ggml lays out numbers: in blocks that share their scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q6K,
    Q5K,
    Q5_1,
    Q5_0,
    Q4K,
    Q4_1,
    Q4_0,
    Q3K,
    Q2K,
    Iq4Nl,
    Iq4Xs,
    Iq3S,
    Iq3Xxs,
    Iq2S,
    Iq2Xs,
    Iq2Xxs,
    Iq1M,
    Iq1S,
    Tq2_0,
    Tq1_0,
    Mxfp4,
}

impl Block {
    /// Weights in a block, and its bytes.
    pub const fn size(self) -> (u64, u64) {
        match self {
            Block::F32 => (1, 4),
            Block::F16 | Block::Bf16 => (1, 2),
            Block::Q8_0 => (32, 34),
            Block::Q6K => (256, 210),
            Block::Q5K => (256, 176),
            Block::Q5_1 => (32, 24),
            Block::Q5_0 => (32, 22),
            Block::Q4K => (256, 144),
            Block::Q4_1 => (32, 20),
            Block::Q4_0 | Block::Iq4Nl => (32, 18),
            Block::Q3K | Block::Iq3S => (256, 110),
            Block::Q2K => (256, 84),
            Block::Iq4Xs => (256, 136),
            Block::Iq3Xxs => (256, 98),
            Block::Iq2S => (256, 82),
            Block::Iq2Xs => (256, 74),
            Block::Iq2Xxs | Block::Tq2_0 => (256, 66),
            Block::Iq1M => (256, 56),
            Block::Iq1S => (256, 50),
            Block::Tq1_0 => (256, 54),
            Block::Mxfp4 => (32, 17),
        }
    }

    /// The bytes of rows of so many weights each.
    pub const fn bytes(self, row: u64, rows: u64) -> u64 {
        let (weights, bytes) = self.size();
        row.div_ceil(weights).saturating_mul(bytes).saturating_mul(rows)
    }

    /// What llama.cpp takes in its place where a row is no whole number of its blocks.
    pub const fn fitting(self, row: u64) -> Block {
        if row.is_multiple_of(self.size().0) {
            return self;
        }
        let smaller = match self {
            Block::Iq4Xs
            | Block::Iq3S
            | Block::Iq3Xxs
            | Block::Iq2S
            | Block::Iq2Xs
            | Block::Iq2Xxs
            | Block::Iq1M
            | Block::Iq1S => Block::Iq4Nl,
            Block::Q3K | Block::Q2K | Block::Tq2_0 | Block::Tq1_0 => Block::Q4_0,
            Block::Q4K => Block::Q5_0,
            Block::Q5K => Block::Q5_1,
            Block::Q6K => Block::Q8_0,
            _ => Block::F16,
        };
        if row.is_multiple_of(smaller.size().0) { smaller } else { Block::F16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_whole_blocks() {
        assert_eq!(Block::Q4K.bytes(4096, 2), 2 * 16 * 144, "4.5 bits a weight");
        assert_eq!(Block::Q8_0.bytes(4096, 1), 128 * 34, "8.5 bits a weight");
        assert_eq!(Block::F32.bytes(7, 3), 84);
    }

    #[test]
    fn a_row_that_is_no_whole_number_of_blocks_takes_a_smaller_block() {
        assert_eq!(Block::Q4K.fitting(4096), Block::Q4K);
        assert_eq!(Block::Q4K.fitting(896), Block::Q5_0, "896 is 3.5 blocks of 256, 28 of 32");
        assert_eq!(Block::Q6K.fitting(896), Block::Q8_0);
        assert_eq!(Block::Iq2Xs.fitting(576), Block::Iq4Nl);
        assert_eq!(Block::Q4_0.fitting(100), Block::F16, "no whole blocks of 32 either");
    }
}
