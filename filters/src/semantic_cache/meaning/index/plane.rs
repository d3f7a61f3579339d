//! Vectors side by side, searched in two steps: the signs of all, then the bytes of those whose signs are nearest.

use std::cmp::Ordering;

use super::super::scan;
use super::super::vector::Vector;

/// Up to so many vectors the bytes of all are compared: that takes no longer than the two steps, and misses nothing.
const EXACT: usize = 2_048;
/// How many the first step leaves for the second.
const SHORTLIST: usize = 128;
/// How many codes are compared at once: their differences stay in the processor's nearest memory.
const BLOCK: usize = 2_048;

/// All of `WORDS * 64` dimensions or fewer.
#[derive(Default)]
pub struct Plane<const WORDS: usize> {
    dimensions: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
    signs: Vec<[u64; WORDS]>,
}

impl<const WORDS: usize> Plane<WORDS> {
    pub fn push(&mut self, vector: &Vector) {
        if self.scales.is_empty() {
            self.dimensions = vector.dimensions();
        }
        self.values.extend_from_slice(&vector.values);
        self.values.resize((self.scales.len() + 1) * self.dimensions, 0);
        self.scales.push(vector.scale);
        self.signs.push(vector.signs());
    }

    /// The last one takes the place of the one that leaves.
    pub fn swap_remove(&mut self, place: usize) {
        let last = self.scales.len() - 1;
        self.values.copy_within(last * self.dimensions.., place * self.dimensions);
        self.values.truncate(last * self.dimensions);
        self.scales.swap_remove(place);
        self.signs.swap_remove(place);
    }

    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.values.capacity() + self.scales.capacity() * 4 + self.signs.capacity() * WORDS * 8
    }

    /// The nearest of those that count, best first, with their cosines.
    pub fn nearest(&self, query: &Vector, most: usize, counts: impl Fn(usize) -> bool) -> Vec<(usize, f32)> {
        if query.dimensions() != self.dimensions {
            return Vec::new();
        }
        let near = |place: usize| (place, self.cosine(place, query));
        let mut found: Vec<(usize, f32)> = if self.scales.len() <= EXACT {
            (0..self.scales.len()).filter(|place| counts(*place)).map(near).collect()
        } else {
            self.shortlist(query).into_iter().filter(|place| counts(*place)).map(near).collect()
        };
        let better = |left: &(usize, f32), right: &(usize, f32)| -> Ordering {
            right.1.total_cmp(&left.1).then(left.0.cmp(&right.0))
        };
        if found.len() > most {
            found.select_nth_unstable_by(most, better);
            found.truncate(most);
        }
        found.sort_unstable_by(better);
        found
    }

    fn cosine(&self, place: usize, query: &Vector) -> f32 {
        let values = &self.values[place * self.dimensions..(place + 1) * self.dimensions];
        scan::product(values, &query.values) as f32 * self.scales[place] * query.scale
    }

    /// The places whose signs differ least.
    fn shortlist(&self, query: &Vector) -> Vec<usize> {
        let signs = query.signs::<WORDS>();
        let mut differences = [0; BLOCK];
        let mut kept: Vec<(u16, u32)> = Vec::with_capacity(SHORTLIST * 8);
        let mut bound = u16::MAX;
        for (block, codes) in self.signs.chunks(BLOCK).enumerate() {
            scan::differences(codes, &signs, &mut differences);
            for (place, difference) in differences[..codes.len()].iter().enumerate() {
                if *difference < bound {
                    kept.push((*difference, (block * BLOCK + place) as u32));
                    if kept.len() == SHORTLIST * 8 {
                        kept.select_nth_unstable(SHORTLIST);
                        kept.truncate(SHORTLIST);
                        bound = kept.iter().map(|(difference, _)| *difference).max().unwrap_or(bound);
                    }
                }
            }
        }
        kept.sort_unstable();
        kept.into_iter().take(SHORTLIST).map(|(_, place)| place as usize).collect()
    }
}
