//! What one scope has kept, in columns: searches read only those that they need.

use std::collections::HashMap;

use super::plane::Plane;
use super::{Card, Found};
use crate::semantic_cache::entry::{Date, Id};
use crate::semantic_cache::meaning::vector::Vector;

#[derive(Default)]
pub struct Shelf {
    /// It was empty and has left the index: who still holds it looks for the new one.
    pub gone: bool,
    places: HashMap<Id, u32>,
    ids: Vec<Id>,
    texts: Vec<Box<str>>,
    until: Vec<Date>,
    /// When it came, counted over the whole index.
    numbers: Vec<u64>,
    vectors: Plane<6>,
    gates: Plane<4>,
}

impl Shelf {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Also takes the place of what stood there under the same id.
    pub fn insert(&mut self, card: Card, number: u64) {
        self.remove(&card.id);
        self.places.insert(card.id, self.ids.len() as u32);
        self.vectors.push(&card.vector);
        if let Some(gate) = &card.gate {
            self.gates.push(gate);
        }
        self.ids.push(card.id);
        self.texts.push(card.text);
        self.until.push(card.until);
        self.numbers.push(number);
    }

    pub fn remove(&mut self, id: &Id) -> bool {
        let Some(place) = self.places.remove(id).map(|place| place as usize) else { return false };
        self.vectors.swap_remove(place);
        if !self.gates.is_empty() {
            self.gates.swap_remove(place);
        }
        self.ids.swap_remove(place);
        self.texts.swap_remove(place);
        self.until.swap_remove(place);
        self.numbers.swap_remove(place);
        if let Some(moved) = self.ids.get(place) {
            self.places.insert(*moved, place as u32);
        }
        true
    }

    pub fn number(&self, id: &Id) -> Option<u64> {
        self.places.get(id).map(|place| self.numbers[*place as usize])
    }

    pub fn nearest(&self, vector: &Vector, most: usize, now: Date) -> Vec<Found> {
        let found = self.vectors.nearest(vector, most, |place| self.until[place] > now);
        let found = found.into_iter();
        found.map(|(place, cosine)| Found { id: self.ids[place], text: self.texts[place].clone(), cosine }).collect()
    }

    /// The nearest cosine of the static model.
    pub fn nearest_gate(&self, vector: &Vector) -> Option<f32> {
        self.gates.nearest(vector, 1, |_| true).first().map(|(_, cosine)| *cosine)
    }

    pub fn bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.len()).sum();
        let columns = self.ids.capacity() * 32 + self.texts.capacity() * 16 + self.until.capacity() * 16;
        // An entry of the map takes 36 bytes and one of control.
        self.vectors.bytes() + self.gates.bytes() + texts + columns + self.places.capacity() * 37
    }
}
