//! The few keys that most weight falls on, in bounded room, however many keys there are.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data
//! Streams", 2005), with weights: a new key takes the place of the lightest one and inherits its weight, which may
//! be that of others. A key with more than a `most`-th of all weight is always here. What is noted beside a key is
//! noted from its last coming on, never inherited: so every figure made of it is a lower bound, with the error
//! that the paper speaks of already taken off.

use std::collections::HashMap;
use std::hash::Hash;

pub struct Heavy<K, V> {
    most: usize,
    slots: Vec<Slot<K, V>>,
    /// Numbers of slots, the lightest first: a binary heap.
    heap: Vec<usize>,
    numbers: HashMap<K, usize>,
}

#[derive(Clone)]
struct Slot<K, V> {
    key: K,
    /// At least what fell on the key.
    weight: u64,
    /// Where its number stands in the heap.
    place: usize,
    value: V,
}

impl<K: Copy + Eq + Hash, V> Heavy<K, V> {
    pub fn new(most: usize) -> Self {
        Heavy { most: most.max(1), slots: Vec::new(), heap: Vec::new(), numbers: HashMap::new() }
    }

    /// Lets a weight fall on a key. What is noted beside it begins anew where the key was not here.
    pub fn add(&mut self, key: K, weight: u64, fresh: impl FnOnce() -> V) -> &mut V {
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None if self.slots.len() < self.most => self.enter(key, fresh()),
            None => self.replace_lightest(key, fresh()),
        };
        let slot = &mut self.slots[number];
        slot.weight = slot.weight.saturating_add(weight);
        let place = slot.place;
        self.sink(place);
        &mut self.slots[number].value
    }

    fn enter(&mut self, key: K, value: V) -> usize {
        let (number, place) = (self.slots.len(), self.heap.len());
        self.slots.push(Slot { key, weight: 0, place, value });
        self.heap.push(number);
        self.numbers.insert(key, number);
        self.rise(place);
        number
    }

    fn replace_lightest(&mut self, key: K, value: V) -> usize {
        let number = self.heap[0];
        let slot = &mut self.slots[number];
        self.numbers.remove(&slot.key);
        (slot.key, slot.value) = (key, value);
        self.numbers.insert(key, number);
        number
    }

    fn weight_at(&self, place: usize) -> u64 {
        self.slots[self.heap[place]].weight
    }

    fn swap(&mut self, left: usize, right: usize) {
        self.heap.swap(left, right);
        self.slots[self.heap[left]].place = left;
        self.slots[self.heap[right]].place = right;
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.weight_at(place) < self.weight_at((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let below = [2 * place + 1, 2 * place + 2].into_iter().filter(|below| *below < self.heap.len());
            let Some(lightest) = below.min_by_key(|below| self.weight_at(*below)) else { return };
            if self.weight_at(place) <= self.weight_at(lightest) {
                return;
            }
            self.swap(place, lightest);
            place = lightest;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().map(|slot| (&slot.key, &slot.value))
    }

    /// What a key that is not here may weigh at most.
    pub fn overlooked(&self) -> u64 {
        if self.slots.len() < self.most { 0 } else { self.weight_at(0) }
    }
}

/// A copy to be read at leisure, while the first goes on.
impl<K: Copy, V: Clone> Clone for Heavy<K, V> {
    fn clone(&self) -> Self {
        Heavy { most: self.most, slots: self.slots.clone(), heap: self.heap.clone(), numbers: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(heavy: &Heavy<u32, u64>, key: u32) -> Option<u64> {
        heavy.iter().find(|(other, _)| **other == key).map(|(_, value)| *value)
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
            noted in prop::collection::vec((0u32..60, 0u64..1_000), 0..600), most in 1usize..20,
        ) {
            let (mut heavy, mut truth) = (Heavy::new(most), HashMap::<u32, u64>::new());
            for (key, weight) in noted {
                *heavy.add(key, weight, || 0) += weight;
                *truth.entry(key).or_default() += weight;
            }
            let all: u64 = truth.values().sum();
            let here: HashMap<u32, u64> = heavy.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert!(here.len() <= most);
            for (key, weight) in &truth {
                prop_assert!(here.get(key).is_none_or(|claimed| claimed <= weight));
                prop_assert!(here.contains_key(key) || *weight <= heavy.overlooked());
                prop_assert!(here.contains_key(key) || *weight <= all / most as u64);
            }
        }
    }
}
