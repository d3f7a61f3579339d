//! Where a JSON string ends, 64 bytes at a time: a bit for each byte that matters, as in simdjson
//! (Langdale and Lemire, 2019), and a look at each of these.

use wide::u8x16;

use super::scanner::Malformed;

/// Looked at together.
const BLOCK: usize = 64;

pub struct End {
    /// Where the closing quote stands.
    pub at: usize,
    pub spelling: Spelling,
}

#[derive(Clone, Copy)]
pub enum Spelling {
    /// As serde_json writes it.
    Usual,
    /// With an escape that could be spelled otherwise.
    Other,
}

/// The end of the string whose first character stands at `start`. Escapes that begin with `\u` are not
/// looked into.
pub fn end(bytes: &[u8], start: usize) -> Result<End, Malformed> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { avx2::end(bytes, start) };
    }
    walk(bytes, start, specials)
}

#[inline(always)]
fn walk(bytes: &[u8], start: usize, specials: impl Fn(&[u8; BLOCK]) -> u64) -> Result<End, Malformed> {
    let mut spelling = Spelling::Usual;
    let mut block = start;
    'blocks: loop {
        let mut here = match bytes.get(block..).and_then(<[u8]>::first_chunk) {
            Some(whole) => specials(whole),
            None => specials(&last(bytes, block)),
        };
        while here != 0 {
            let at = block + here.trailing_zeros() as usize;
            match bytes.get(at) {
                Some(b'"') => return Ok(End { at, spelling }),
                Some(b'\\') => match bytes.get(at + 1) {
                    Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'/' | b'u') => spelling = Spelling::Other,
                    _ => return Err(Malformed { at }),
                },
                // A control character, or the end of the text.
                _ => return Err(Malformed { at }),
            }
            let behind = at + 2 - block;
            if behind >= BLOCK {
                block = at + 2;
                continue 'blocks;
            }
            here &= u64::MAX << behind;
        }
        block += BLOCK;
    }
}

/// What is left of the text, filled up with zeros, which are control characters.
fn last(bytes: &[u8], start: usize) -> [u8; BLOCK] {
    let rest = bytes.get(start..).unwrap_or_default();
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// A bit for each byte that is a quote, a backslash or a control character.
fn specials(block: &[u8; BLOCK]) -> u64 {
    const QUOTE: u8x16 = u8x16::new([b'"'; 16]);
    const BACKSLASH: u8x16 = u8x16::new([b'\\'; 16]);
    const LAST_CONTROL: u8x16 = u8x16::new([0x1f; 16]);
    let (lanes, _) = block.as_chunks::<16>();
    lanes.iter().enumerate().fold(0, |mask, (place, lane)| {
        let lane = u8x16::new(*lane);
        let control = lane.min(LAST_CONTROL).simd_eq(lane);
        let special = lane.simd_eq(QUOTE) | lane.simd_eq(BACKSLASH) | control;
        mask | u64::from(special.to_bitmask()) << (place * 16)
    })
}

/// The same with vectors of 32 bytes. Not every processor has them, so the choice is made at run time.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8,
    };

    use super::{BLOCK, End, Malformed, walk};

    #[target_feature(enable = "avx2")]
    pub fn end(bytes: &[u8], start: usize) -> Result<End, Malformed> {
        walk(bytes, start, |block| specials(block))
    }

    /// Never inlined: within the loop the compiler takes the loads apart into single bytes, seven times as slow.
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    fn specials(block: &[u8; BLOCK]) -> u64 {
        let (halves, _) = block.as_chunks::<32>();
        u64::from(mask_of(&halves[0])) | u64::from(mask_of(&halves[1])) << 32
    }

    #[target_feature(enable = "avx2")]
    fn mask_of(half: &[u8; 32]) -> u32 {
        // SAFETY: 32 bytes can be read there, and the instruction asks for no alignment.
        let half = unsafe { _mm256_loadu_si256(half.as_ptr().cast::<__m256i>()) };
        let is = |byte: u8| _mm256_cmpeq_epi8(half, _mm256_set1_epi8(byte.cast_signed()));
        let control = _mm256_cmpeq_epi8(_mm256_min_epu8(half, _mm256_set1_epi8(0x1f)), half);
        let special = _mm256_or_si256(_mm256_or_si256(is(b'"'), is(b'\\')), control);
        _mm256_movemask_epi8(special).cast_unsigned()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn both_widths_find_the_same_bytes() {
            if !is_x86_feature_detected!("avx2") {
                return;
            }
            for byte in 0..=u8::MAX {
                for place in 0..BLOCK {
                    let mut block = [b'x'; BLOCK];
                    block[place] = byte;
                    // SAFETY: the processor has AVX2.
                    let wide = unsafe { specials(&block) };
                    assert_eq!(wide, super::super::specials(&block), "{byte} at {place}");
                    let expected = if matches!(byte, b'"' | b'\\' | 0..0x20) { 1 << place } else { 0 };
                    assert_eq!(wide, expected, "{byte} at {place}");
                }
            }
        }
    }
}
