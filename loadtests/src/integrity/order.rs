//! The order in which a generation's tokens came, kept in the few words that a good stream needs.

use std::ops::Range;

#[derive(Debug, Default)]
pub struct Order {
    generation: Option<u64>,
    crossed: Option<(u64, u64)>,
    /// One past the highest index that came.
    next: u64,
    seen: u64,
    /// What was skipped and has not come since.
    missing: Vec<Range<u64>>,
    repeated: Option<u64>,
    reordered: Option<u64>,
}

impl Order {
    pub fn token(&mut self, generation: u64, index: u64) {
        let expected = *self.generation.get_or_insert(generation);
        if generation != expected {
            self.crossed.get_or_insert((expected, generation));
            return;
        }
        self.seen += 1;
        if index >= self.next {
            if index > self.next {
                self.missing.push(self.next..index);
            }
            self.next = index.saturating_add(1);
        } else if self.fill(index) {
            self.reordered.get_or_insert(index);
        } else {
            self.repeated.get_or_insert(index);
        }
    }

    pub fn generation(&self) -> Option<u64> {
        self.generation
    }

    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The generation expected and the other one found: between tokens, or between them and the finish chunk.
    pub fn crossed(&self, finish: Option<u64>) -> Option<(u64, u64)> {
        let finish = finish.zip(self.generation).filter(|(finish, generation)| finish != generation);
        self.crossed.or(finish.map(|(finish, generation)| (generation, finish)))
    }

    pub fn repeated(&self) -> Option<u64> {
        self.repeated
    }

    pub fn reordered(&self) -> Option<u64> {
        self.reordered
    }

    /// The first token that never came, where `promised` is how many the generation had.
    pub fn lost(&self, promised: u64) -> Option<u64> {
        let skipped = self.missing.iter().map(|range| range.start).min();
        skipped.or((self.next < promised).then_some(self.next))
    }

    /// Takes a late token out of what is missing; false where it was not missing.
    fn fill(&mut self, index: u64) -> bool {
        let Some(place) = self.missing.iter().position(|range| range.contains(&index)) else { return false };
        let Range { start, end } = self.missing.swap_remove(place);
        self.missing.extend([start..index, index + 1..end].into_iter().filter(|range| !range.is_empty()));
        true
    }
}
