//! Groups by name: bounded, and those that nobody has asked for in fifteen minutes are let go.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Groups of one kind at most, beside the one for all others.
pub const MOST: usize = 128;
const KEPT: Duration = Duration::from_secs(900);
/// Looking for what is to be let go takes time with each group: while there is no room it is not done for each request.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(10);

pub struct Groups<K, V> {
    most: usize,
    other: K,
    groups: HashMap<K, Group<V>>,
    swept: Option<Instant>,
}

struct Group<V> {
    seen: Instant,
    value: V,
}

impl<K: Clone + Eq + Hash + Ord, V> Groups<K, V> {
    /// What is beyond the bound falls to `other`.
    pub fn new(most: usize, other: K) -> Self {
        Groups { most, other, groups: HashMap::new(), swept: None }
    }

    pub fn of(&mut self, key: &K, now: Instant, new: impl FnOnce() -> V) -> &mut V {
        let key = if self.has_room(key, now) { key } else { &self.other };
        let group = self.groups.entry(key.clone()).or_insert_with(|| Group { seen: now, value: new() });
        group.seen = group.seen.max(now);
        &mut group.value
    }

    /// Those that were seen of late, in the order of their names.
    pub fn all(&self, now: Instant) -> Vec<(&K, &V)> {
        let seen = self.groups.iter().filter(|(_, group)| is_kept(group, now));
        let mut all: Vec<_> = seen.map(|(key, group)| (key, &group.value)).collect();
        all.sort_by(|one, other| one.0.cmp(other.0));
        all
    }

    pub fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.groups.get(key).filter(|group| is_kept(group, now)).map(|group| &group.value)
    }

    /// Lets go of what has not been seen for long.
    pub fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.groups.retain(|_, group| is_kept(group, now));
    }

    fn has_room(&mut self, key: &K, now: Instant) -> bool {
        if self.groups.contains_key(key) || self.named() < self.most {
            return true;
        }
        let may_sweep = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= BETWEEN_SWEEPS);
        if may_sweep {
            self.sweep(now);
        }
        may_sweep && self.named() < self.most
    }

    fn named(&self) -> usize {
        self.groups.len() - usize::from(self.groups.contains_key(&self.other))
    }
}

fn is_kept<V>(group: &Group<V>, now: Instant) -> bool {
    now.saturating_duration_since(group.seen) < KEPT
}
