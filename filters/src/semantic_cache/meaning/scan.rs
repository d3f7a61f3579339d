//! The two sums that every search comes down to: how many bits two codes differ in, and the product of two vectors
//! of bytes.
//!
//! Written plainly; on a processor with AVX2 the same loops are compiled for it, which makes them four to eight
//! times as fast. The choice is made once a slice, at run time.

/// How many bits each code of `WORDS` words differs in from `query`, one result a code.
pub fn differences<const WORDS: usize>(codes: &[[u64; WORDS]], query: &[u64; WORDS], out: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has both, which is all that the function asks for.
        return unsafe { avx2::differences(codes, query, out) };
    }
    count(codes, query, out);
}

/// The product of two vectors of bytes, of the same length.
pub fn product(left: &[i8], right: &[i8]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { avx2::product(left, right) };
    }
    multiply(left, right)
}

#[inline(always)]
fn count<const WORDS: usize>(codes: &[[u64; WORDS]], query: &[u64; WORDS], out: &mut [u16]) {
    for (code, out) in codes.iter().zip(out) {
        let bits: u32 = code.iter().zip(query).map(|(code, query)| (code ^ query).count_ones()).sum();
        *out = bits as u16;
    }
}

#[inline(always)]
fn multiply(left: &[i8], right: &[i8]) -> i32 {
    left.iter().zip(right).map(|(left, right)| i32::from(i16::from(*left) * i16::from(*right))).sum()
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    #[target_feature(enable = "avx2,popcnt")]
    pub fn differences<const WORDS: usize>(codes: &[[u64; WORDS]], query: &[u64; WORDS], out: &mut [u16]) {
        super::count(codes, query, out);
    }

    #[target_feature(enable = "avx2")]
    pub fn product(left: &[i8], right: &[i8]) -> i32 {
        super::multiply(left, right)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_widths_come_to_the_same(left in prop::collection::vec(-127i8.., 384), right in prop::collection::vec(-127i8.., 384),
                                        codes in prop::collection::vec(any::<[u64; 4]>(), 0..40), query: [u64; 4]) {
            prop_assert_eq!(product(&left, &right), multiply(&left, &right));
            let (mut wide, mut plain) = (vec![0; codes.len()], vec![0; codes.len()]);
            differences(&codes, &query, &mut wide);
            count(&codes, &query, &mut plain);
            prop_assert_eq!(wide, plain);
        }
    }
}
