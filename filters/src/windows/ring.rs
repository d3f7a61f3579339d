//! Slots of equal time that begin anew by themselves when their time comes again.

use std::time::Duration;

use tokio::time::Instant;

/// A rate over less than this would be chance.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Ring<T> {
    width: Duration,
    width_millis: u64,
    count: usize,
    /// None until the first slot is asked for.
    begun: Option<Instant>,
    newest: u64,
    /// None are kept until one is asked for.
    slots: Vec<T>,
}

impl<T: Default> Ring<T> {
    /// It begins with the first that is put in.
    pub fn new(width: Duration, count: usize) -> Self {
        let width_millis = u64::try_from(width.as_millis()).unwrap_or(u64::MAX).max(1);
        Ring { width, width_millis, count: count.max(1), begun: None, newest: 0, slots: Vec::new() }
    }

    pub fn since(begun: Instant, width: Duration, count: usize) -> Self {
        Ring { begun: Some(begun), ..Ring::new(width, count) }
    }

    /// The slot that fills now. A clock that is a little behind another's fills the newest one.
    pub fn slot(&mut self, now: Instant) -> &mut T {
        let begun = *self.begun.get_or_insert(now);
        let number = self.number(begun, now).max(self.newest);
        self.slots.resize_with(self.count, T::default);
        let gone = (number - self.newest).min(self.count as u64);
        for old in 0..gone {
            let place = self.place(number - old);
            self.slots[place] = T::default();
        }
        self.newest = number;
        let place = self.place(number);
        &mut self.slots[place]
    }

    /// The last slots that are still within their time, the one that fills now among them; the newest first.
    pub fn last(&self, now: Instant, count: usize) -> impl Iterator<Item = &T> {
        self.back(now, 0, count)
    }

    /// Those before the last so many; the newest first.
    pub fn back(&self, now: Instant, skipped: usize, count: usize) -> impl Iterator<Item = &T> {
        let number = self.begun.map_or(0, |begun| self.number(begun, now)).max(self.newest);
        let end = (number + 1).saturating_sub(skipped as u64);
        let oldest = end.saturating_sub(count as u64).max((self.newest + 1).saturating_sub(self.count as u64));
        // What is older than the ring is gone, even where nothing has come in its place yet.
        let oldest = oldest.max((number + 1).saturating_sub(self.count as u64));
        let places = (oldest..end.min(self.newest + 1)).rev().map(|number| self.place(number));
        places.filter_map(|place| self.slots.get(place))
    }

    /// How much time the last slots stand for.
    pub fn covered(&self, now: Instant, count: usize) -> Duration {
        let Some(begun) = self.begun else { return SHORTEST };
        let age = now.saturating_duration_since(begun);
        let begins = self.number(begun, now).saturating_sub(count as u64 - 1);
        let begins = self.width.saturating_mul(u32::try_from(begins).unwrap_or(u32::MAX));
        age.saturating_sub(begins).max(SHORTEST)
    }

    /// All slots, in no order: what is past its time too.
    pub fn all(&self) -> &[T] {
        &self.slots
    }

    fn number(&self, begun: Instant, now: Instant) -> u64 {
        // In 64 bits: dividing 128 would take most of the time of a record.
        let age = now.saturating_duration_since(begun);
        let millis = age.as_secs().saturating_mul(1000).saturating_add(u64::from(age.subsec_millis()));
        millis / self.width_millis
    }

    fn place(&self, number: u64) -> usize {
        (number % self.count as u64) as usize
    }
}
