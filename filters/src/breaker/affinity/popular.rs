//! How deep into a prompt its key must reach: just so far that not too many others have the same.
//!
//! The shorter the prefix, the more prompts that share it are kept together, and find each other's work in the cache.
//! But in Mooncake's public trace of conversations all 12,031 requests share the first block of 512 tokens, as they
//! would the system prompt of one application: a key of one block sends all of them to one backend.
//!
//! So prefixes are counted. One is too popular as a key when a large share of the recent requests has it **and**
//! they go on in different ways. The second matters where little is going on: a lone conversation has a large share
//! as well, but dividing it would only send its turns to different backends. Between "too popular" and "no longer"
//! there is a factor of two, so that a share at the border does not move keys to and fro.
//!
//! The table is of fixed size, and the least asked entry of four makes room for a new one: what is popular stays.
//! Each process counts for itself. Those that see different traffic may for a while disagree on a depth, and so on a
//! backend; that costs hits and nothing else.

/// Entries: 64 KB in all.
const SETS: usize = 512;
const WAYS: usize = 4;
/// After as many requests all counts are halved, so that old ones fade.
const WINDOW: u32 = 1024;
/// As if so many requests had come before the first: the shares of the first few say nothing.
const BEFORE: u32 = 64;
/// Too popular is what has more than this part of a backend's even share. With applications of uneven popularity, each
/// with its own system prompt, four backends and no bound on loads, the busiest got 1.08 to 1.13 times the mean at an
/// eighth, 1.1 to 1.6 at a half, 1.5 to 2.1 at one; the hits were the same to half a percent.
const PART: f64 = 0.125;
/// What is rarer than this, the counts cannot tell.
const LEAST_SHARE: f64 = 1.0 / 256.0;

#[derive(Clone, Copy, Debug, Default)]
struct Prefix {
    hash: u64,
    /// Which of 64 classes of continuations were seen, in this window and in the last.
    continued: [u64; 2],
    count: u32,
    too_popular: bool,
}

#[derive(Debug)]
pub(super) struct Popular {
    sets: Box<[[Prefix; WAYS]]>,
    requests: u32,
    since_halved: u32,
    /// The share above which a prefix is too popular.
    most: f64,
}

impl Popular {
    pub(super) fn among(members: usize) -> Self {
        let sets = vec![[Prefix::default(); WAYS]; SETS].into_boxed_slice();
        Popular { sets, requests: BEFORE, since_halved: 0, most: (PART / members.max(1) as f64).max(LEAST_SHARE) }
    }

    /// The hash of the first prefix behind all that are too popular, of the longest if that is one; 0 for no prompt.
    pub(super) fn key(&mut self, prefixes: &[u64]) -> u64 {
        self.count_request();
        let (requests, most) = (f64::from(self.requests), self.most);
        let mut key = None;
        for (depth, &hash) in prefixes.iter().enumerate() {
            let prefix = self.entry(hash);
            prefix.count += 1;
            if let Some(next) = prefixes.get(depth + 1) {
                prefix.continued[0] |= 1 << (next % 64);
            }
            prefix.judge(requests, most);
            // What lies before a popular one is popular too, even where it goes on in one way only.
            key = if prefix.too_popular { None } else { key.or(Some(hash)) };
        }
        key.or(prefixes.last().copied()).unwrap_or(0)
    }

    fn entry(&mut self, hash: u64) -> &mut Prefix {
        // The low bits say how a prefix continues another; the set is found by others.
        let set = &mut self.sets[(hash >> 32) as usize % SETS];
        let known = set.iter().position(|prefix| prefix.hash == hash && prefix.count > 0);
        let least = || set.iter().enumerate().min_by_key(|(_, prefix)| prefix.count).map_or(0, |(at, _)| at);
        let at = known.unwrap_or_else(least);
        if known.is_none() {
            set[at] = Prefix { hash, ..Prefix::default() };
        }
        &mut set[at]
    }

    fn count_request(&mut self) {
        self.requests += 1;
        self.since_halved += 1;
        if self.since_halved < WINDOW {
            return;
        }
        self.since_halved = 0;
        self.requests /= 2;
        for prefix in self.sets.iter_mut().flatten() {
            prefix.count /= 2;
            prefix.continued = [0, prefix.continued[0]];
        }
    }
}

impl Prefix {
    fn judge(&mut self, requests: f64, most: f64) {
        let share = f64::from(self.count) / requests;
        let ways = (self.continued[0] | self.continued[1]).count_ones();
        let border = if self.too_popular { most / 2.0 } else { most };
        self.too_popular = share > border && ways > 1;
    }
}
