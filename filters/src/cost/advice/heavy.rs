//! The few keys that most weight falls on, in bounded room, however many keys there are.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data
//! Streams", 2005), with weights: a new key takes the place of the lightest one and inherits its weight, which may
//! be that of others. A key with more than a `most`-th of all weight is always here. What is noted beside a key is
//! noted from its last coming on, never inherited: so every figure made of it is a lower bound, with the error
//! that the paper speaks of already taken off.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Its keys must be hashes already, so that their bits are as good as random.
pub struct Heavy<K, V> {
    most: usize,
    slots: Vec<(K, V)>,
    /// A binary heap, the lightest first: apart from the slots, so that it is small enough to be near.
    heap: Vec<Weighed>,
    /// Where the number of each slot stands in the heap.
    places: Vec<usize>,
    numbers: HashMap<K, usize, BuildHasherDefault<Prehashed>>,
}

#[derive(Clone, Copy)]
struct Weighed {
    /// At least what fell on the key.
    weight: u64,
    number: usize,
}

/// Takes a key as it is.
#[derive(Clone, Copy, Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }
}

impl<K: Copy + Eq + Hash, V> Heavy<K, V> {
    pub fn new(most: usize) -> Self {
        let (slots, heap, places, numbers) = (Vec::new(), Vec::new(), Vec::new(), HashMap::default());
        Heavy { most: most.max(1), slots, heap, places, numbers }
    }

    /// Lets a weight fall on a key. What is noted beside it begins anew where the key was not here.
    pub fn add(&mut self, key: K, weight: u64, fresh: impl FnOnce() -> V) -> &mut V {
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None if self.slots.len() < self.most => self.enter(key, fresh()),
            None => self.replace_lightest(key, fresh()),
        };
        let place = self.places[number];
        self.heap[place].weight = self.heap[place].weight.saturating_add(weight);
        self.sink(place);
        &mut self.slots[number].1
    }

    fn enter(&mut self, key: K, value: V) -> usize {
        let (number, place) = (self.slots.len(), self.heap.len());
        self.slots.push((key, value));
        self.heap.push(Weighed { weight: 0, number });
        self.places.push(place);
        self.numbers.insert(key, number);
        self.rise(place);
        number
    }

    fn replace_lightest(&mut self, key: K, value: V) -> usize {
        let number = self.heap[0].number;
        self.numbers.remove(&self.slots[number].0);
        self.slots[number] = (key, value);
        self.numbers.insert(key, number);
        number
    }

    fn put(&mut self, weighed: Weighed, place: usize) {
        self.heap[place] = weighed;
        self.places[weighed.number] = place;
    }

    fn rise(&mut self, mut place: usize) {
        let rising = self.heap[place];
        while place > 0 && rising.weight < self.heap[(place - 1) / 2].weight {
            self.put(self.heap[(place - 1) / 2], place);
            place = (place - 1) / 2;
        }
        self.put(rising, place);
    }

    fn sink(&mut self, mut place: usize) {
        let sinking = self.heap[place];
        loop {
            let below = [2 * place + 1, 2 * place + 2].into_iter().filter(|below| *below < self.heap.len());
            let lightest = below.min_by_key(|below| self.heap[*below].weight);
            let Some(lightest) = lightest.filter(|below| self.heap[*below].weight < sinking.weight) else { break };
            self.put(self.heap[lightest], place);
            place = lightest;
        }
        self.put(sinking, place);
    }

    /// What a key that is not here may weigh at most.
    pub fn overlooked(&self) -> u64 {
        let lightest = self.heap.first().filter(|_| self.slots.len() >= self.most);
        lightest.map_or(0, |lightest| lightest.weight)
    }
}

impl<K: Copy, V: Clone> Heavy<K, V> {
    /// What is noted now, to be read at leisure.
    pub fn copy(&self) -> Vec<(K, V)> {
        self.slots.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(heavy: &Heavy<u64, u64>, key: u64) -> Option<u64> {
        heavy.copy().into_iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    #[test]
    fn with_room_for_all_every_sum_is_exact() {
        let mut heavy = Heavy::new(10);
        for (key, weight) in [(1, 5), (2, 1), (1, 5), (3, 9), (2, 2)] {
            *heavy.add(key, weight, || 0) += weight;
        }
        assert_eq!([1, 2, 3, 4].map(|key| noted(&heavy, key)), [Some(10), Some(3), Some(9), None]);
        assert_eq!(heavy.overlooked(), 0);
    }

    #[test]
    fn a_key_that_comes_back_starts_from_nothing() {
        let mut heavy = Heavy::new(1);
        *heavy.add(1, 100, || 0) += 100;
        *heavy.add(2, 1, || 0) += 1;
        *heavy.add(1, 1, || 0) += 1;
        assert_eq!(noted(&heavy, 1), Some(1), "what it inherited is not claimed");
        assert_eq!(heavy.overlooked(), 102);
    }

    proptest! {
        #[test]
        fn heavy_keys_are_here_and_nothing_is_ever_claimed_too_much(
            noted in prop::collection::vec((0u64..60, 0u64..1_000), 0..600), most in 1usize..20,
        ) {
            let (mut heavy, mut truth) = (Heavy::new(most), HashMap::<u64, u64>::new());
            for (key, weight) in noted {
                *heavy.add(key, weight, || 0) += weight;
                *truth.entry(key).or_default() += weight;
            }
            let all: u64 = truth.values().sum();
            let here: HashMap<u64, u64> = heavy.copy().into_iter().collect();
            prop_assert!(here.len() <= most);
            for (key, weight) in &truth {
                prop_assert!(here.get(key).is_none_or(|claimed| claimed <= weight));
                prop_assert!(here.contains_key(key) || *weight <= heavy.overlooked());
                prop_assert!(here.contains_key(key) || *weight <= all / most as u64);
            }
        }
    }
}
