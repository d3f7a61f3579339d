//! Prompts that begin alike go to the same backend, so that it finds their beginning in its prefix cache; and no
//! backend gets more than its share.
//!
//! - Rendezvous hashing (Thaler and Ravishankar, *A Name-Based Mapping Scheme for Rendezvous*, 1996; *Using Name-Based
//!   Mappings to Increase Hit Rates*, 1998) puts the backends in an order of its own for each key. Who is not there
//!   is passed over, and only his keys move. Every sidecar finds the same order without a word between them.
//! - Weights are those of Schindelhauer and Schomaker (*Weighted Distributed Hash Tables*, 2005): the score is
//!   `-weight / ln(u)`, and each backend comes first for its share of the keys.
//! - Loads are bounded as by Mirrokni, Thorup and Zadimoghaddam (*Consistent Hashing with Bounded Loads*, 2016): the
//!   first in the order who, with this request, has at most `factor` times his share of what is in flight.
//! - How much of a prompt its key holds adapts to the traffic: [`popular`]. A beginning that everybody shares is
//!   cached everywhere anyway, and as a key it would send everybody to one place.

mod blocks;
mod popular;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::{Mutex, PoisonError};

use twox_hash::XxHash3_128;

pub use blocks::{BLOCK_BYTES, Blocks};
use popular::Popular;

/// As many requests a backend may have above its bound. Where little is in flight the bound alone would be one or two
/// requests, and a conversation would be sent away for a load that no engine feels, since it batches what it has: with
/// a tenth of its rate, Mooncake's trace of conversations kept 82 % of a single cache's hits; with these four, all.
const FREE: f64 = 4.0;

#[derive(Debug)]
pub struct Affinity {
    members: Vec<Member>,
    factor: f64,
    /// Held for as long as it takes to count at most eight prefixes.
    popular: Mutex<Popular>,
}

#[derive(Debug)]
struct Member {
    name: u64,
    weight: f64,
}

impl Affinity {
    /// Of backends with their weights; a weight that is none, or not finite, counts as 0, and who has it gets
    /// something only where nobody else can. A factor below 1 would have no room for all there is, and counts as 1.
    pub fn new(members: &[(&str, f64)], factor: f64) -> Self {
        let member = |&(name, weight): &(&str, f64)| Member {
            name: XxHash3_128::oneshot(name.as_bytes()) as u64,
            weight: if weight.is_finite() { weight.max(0.0) } else { 0.0 },
        };
        Affinity {
            members: members.iter().map(member).collect(),
            factor: if factor.is_finite() { factor.max(1.0) } else { 1.0 },
            popular: Mutex::new(Popular::among(members.len())),
        }
    }

    /// Whether it was made for these.
    pub fn is_of(&self, members: &[(&str, f64)]) -> bool {
        let name = |name: &str| XxHash3_128::oneshot(name.as_bytes()) as u64;
        self.members.len() == members.len()
            && self.members.iter().zip(members).all(|(own, other)| own.name == name(other.0) && own.weight == other.1)
    }

    /// What the prompt is placed by; it is counted as asked once more. To be called once for each request, however
    /// often that is tried.
    pub fn key(&self, blocks: &Blocks) -> u64 {
        let mut popular = self.popular.lock().unwrap_or_else(PoisonError::into_inner);
        popular.key(blocks.hashes())
    }

    /// The backend for this key among those that may be taken now, by their places in `members`, at these loads:
    /// requests in flight. `None` only if there are no candidates.
    pub fn choose(&self, key: u64, candidates: &[usize], load: impl Fn(usize) -> u64) -> Option<usize> {
        let known = || candidates.iter().filter_map(|&index| Some((index, self.members.get(index)?)));
        let weights: f64 = known().map(|(_, member)| member.weight).sum();
        let in_flight: u64 = known().fold(0, |sum, (index, _)| sum.saturating_add(load(index)));
        let share = self.factor * (in_flight as f64 + 1.0) / weights;
        let with_room =
            known().filter(|&(index, member)| load(index) as f64 + 1.0 <= (share * member.weight).ceil() + FREE);
        let first = with_room.max_by(|left, right| left.1.score(key).total_cmp(&right.1.score(key)));
        // There is always one with room, but loads may move while they are read; and all weights may be 0.
        first.or_else(|| known().min_by_key(|&(index, _)| load(index))).map(|(index, _)| index)
    }
}

impl Member {
    /// The highest score comes first for this key.
    fn score(&self, key: u64) -> f64 {
        // 53 bits are what a float holds; the half keeps both ends out, where the logarithm is 0 or has no value.
        let uniform = ((mixed(key ^ self.name) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -self.weight / uniform.ln()
    }
}

/// Every bit of the outcome hangs on every bit of the number: Stafford's variant 13 of MurmurHash3's finalizer.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
